"""Answers over HTTP in the form of OpenAI's chat completions: what `aqaa-data serve` does.

request   what a request may say, and how it is refused
hearing   its audio, decoded and tokenized within limits
model     a request answered: prompt, backbone, vocoder
worker    one thread for the model, and a queue before it
reply     answers in the form of the API, whole or in chunks
app       the endpoints
server    all of it on a socket
"""
