"""`aqaa-data browse`: a local page to search, listen and decide over dataset versions."""
