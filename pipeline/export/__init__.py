"""A version in the formats of other tools."""
