"""Ablations: packed and trained in many ways, and compared in tables beside the paper's numbers."""
