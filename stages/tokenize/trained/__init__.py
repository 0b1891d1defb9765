"""Codes that are trained to keep the words: quantised states of a middle layer of a Whisper model."""
