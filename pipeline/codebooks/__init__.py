"""Codebooks of one's own: decode recordings, detect speech, fit or train, and write a card."""
