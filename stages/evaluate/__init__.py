"""Objective quality measures of speech generated from tokens, compared with the original recording."""
