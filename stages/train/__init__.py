"""Training of the language model: backbone, losses, packing, training loop, merge.

Nothing is re-exported here: `shape` and `config` are light, everything else imports torch.
"""
