"""How good speech is that was made from tokens: measures of it beside the original, and what they come to."""
