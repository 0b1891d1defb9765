"""The token vocoder: audio tokens alone -> mel or latents -> waveform (Step-Audio-AQAA, section 2.3).

Nothing is re-exported here: `shape` and `config` are light, everything else imports torch.
"""
