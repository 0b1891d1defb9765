"""Preferences in a loop: a model's answers are judged, paired and learnt from, round after round."""
