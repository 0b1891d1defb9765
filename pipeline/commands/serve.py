"""`aqaa-data serve`"""

import logging
import socket
import sys
from pathlib import Path

import click

from pipeline.commands.arguments import print_json, renamed_option
from schemas.errors import SetupError


@click.command(epilog="Example: aqaa-data serve --checkpoint runs/merged --port 8080")
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), required=True, help="Folder of a trained model."
)
@click.option(
    "--vocoder",
    type=click.Path(path_type=Path),
    help="Folder of the vocoder that speaks, if not the one that comes with the project.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any that is free."
)
@click.option("--name", help="What requests call the model.  [default: the checkpoint's folder]")
@click.option(
    "--max-tokens", type=click.IntRange(1), default=1024, show_default=True, help="Of an answer, at most."
)
@click.option(
    "--max-seconds",
    type=click.FloatRange(0, min_open=True),
    default=120,
    show_default=True,
    help="Audio of a request, with its earlier turns, at most.",
)
@click.option(
    "--max-megabytes",
    type=click.FloatRange(0, min_open=True),
    default=16,
    show_default=True,
    help="Body of a request, at most.",
)
@renamed_option(
    "--waiting",
    "--max-queue",
    type=click.IntRange(0),
    default=8,
    show_default=True,
    help="Most requests that wait while one is answered; others get status 429.",
)
@click.option(
    "--tokenizer", metavar="REF", help="Speech tokenizer, if not the one that the checkpoint names."
)
@click.option("--vocabulary", metavar="REF", help="Text tokenizer, if not the one that the checkpoint names.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout when it listens.")
def serve(
    checkpoint: Path,
    vocoder: Path | None,
    host: str,
    port: int,
    name: str | None,
    max_tokens: int,
    max_seconds: float,
    max_megabytes: float,
    max_queue: int,
    tokenizer: str | None,
    vocabulary: str | None,
    as_json: bool,
) -> None:
    """Answer over HTTP, in text and speech, until Ctrl-C.

    POST /v1/chat/completions is OpenAI's: `modalities` ["text"] or ["text", "audio"], questions as text or
    `input_audio`, answers as `wav` (22.05 kHz) or `pcm16` (24 kHz), whole or as a stream. GET / is a page to
    talk to the model, GET /v1/models and /health tell of it. Requests are answered one at a time and can't
    name files. There is no password: whoever reaches the address may ask.
    """
    bound = _bound(host, port)

    from pipeline.inference.answer_vocoder import open_answer_vocoder
    from pipeline.inference.answerer import open_answerer
    from pipeline.serving.model import Limits, ServedModel
    from pipeline.serving.server import create_server

    voice = open_answer_vocoder(vocoder)
    answerer = open_answerer(checkpoint, tokenizer, vocabulary)
    voice.check(answerer.models)
    limits = Limits(max_tokens, max_seconds, max_megabytes)
    model = ServedModel(name or checkpoint.resolve().name, answerer, voice, limits)
    server = create_server(model, max_queue)
    # What is asked and said is in no log.
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("aqaa_data.serve").setLevel(logging.INFO)
    url = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
    bound.listen()
    if as_json:
        print_json({"url": url, "model": model.name})
        sys.stdout.flush()
    click.echo(f"{model.name} answers at {url} (Ctrl-C ends)", err=True)
    try:
        server.run(sockets=[bound])
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


def _bound(host: str, port: int) -> socket.socket:
    """A socket with its address, before anything costly is loaded. Raises SetupError where it is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise SetupError(f"{host}:{port} can't be listened on: {error.strerror or error}") from None
    return bound
