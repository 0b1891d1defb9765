"""Answers rated by people on a page: `aqaa-data rate`."""
