"""The released Step-Audio tokenizer: a Paraformer encoder's codes beside those of CosyVoice's."""
