"""Copied beside the weights of a Step-1 checkpoint, so that transformers can open it by itself."""
