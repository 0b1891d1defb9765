"""The released Step-Audio tokenizer: linguistic codes by Paraformer's encoder, semantic ones by CosyVoice."""
