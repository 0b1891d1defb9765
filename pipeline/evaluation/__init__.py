"""What is evaluated and by whom: recordings, tokenizer, vocoder and listeners are brought together here."""
