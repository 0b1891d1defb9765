"""Evaluation of speech tokens: resynthesis, perplexity of small models, and sampled continuations."""
