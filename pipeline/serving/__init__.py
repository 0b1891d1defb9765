"""The HTTP server of `aqaa-data serve`, compatible with OpenAI's chat completions.

request           the schema of a request, and errors in the form of the API
api_keys          who may send requests
audio_tokenizer   the audio of a request, decoded and tokenized within limits
model             generates answers: prompt, backbone, vocoder
worker            one thread for the model, which answers several requests in steps, with a bounded queue
reply             answers in the form of the API, whole or in chunks
metrics           numbers for Prometheus
page              a page to talk to the model
app               the endpoints
server            all of it on a socket
"""
