"""The pages that describe a version to people: `report.html`, and the data card `README.md`."""
