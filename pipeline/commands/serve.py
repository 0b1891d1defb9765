"""`aqaa-data serve`"""

import logging
import sys
from pathlib import Path

import click

from pipeline.commands.arguments import (
    checkpoint_of,
    checkpoint_options,
    endpoint_of,
    endpoint_options,
    print_json,
    renamed_option,
    tensor_parallel_option,
    voice_option,
)
from pipeline.commands.extras import require_extra
from pipeline.serving.address import bind, url_of
from pipeline.serving.api_keys import ApiKeys


@click.command(
    epilog="Examples: aqaa-data serve --demo, aqaa-data serve --checkpoint runs/merged --port 8080"
)
@checkpoint_options
@endpoint_options
@tensor_parallel_option
@click.option(
    "--vocoder",
    type=click.Path(path_type=Path),
    help="Folder of a vocoder to use in place of the bundled one.",
)
@voice_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes any free port."
)
@click.option("--name", help="Model name in the API.  [default: name of the checkpoint's folder]")
@click.option(
    "--max-tokens", type=click.IntRange(1), default=1024, show_default=True, help="Most tokens of an answer."
)
@click.option(
    "--max-seconds",
    type=click.FloatRange(0, min_open=True),
    default=120,
    show_default=True,
    help="Most seconds of audio in a request, including its earlier turns.",
)
@click.option(
    "--max-megabytes",
    type=click.FloatRange(0, min_open=True),
    default=16,
    show_default=True,
    help="Largest body of a request.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Most requests that are answered at a time.",
)
@renamed_option(
    "--waiting",
    "--max-queue",
    type=click.IntRange(0),
    default=8,
    show_default=True,
    help="Most requests that wait for their turn; further ones get status 429.",
)
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    help="File with keys, one a line; requests must carry one of them.",
)
@click.option(
    "--recogniser",
    metavar="REF",
    help="Whisper model that writes down spoken questions, for the page: package:whisper-base is included.",
)
@click.option(
    "--tokenizer",
    metavar="REF",
    help="Speech tokenizer to use in place of the one that the checkpoint names.",
)
@click.option(
    "--vocabulary", metavar="REF", help="Text tokenizer to use in place of the one that the checkpoint names."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout once the server listens."
)
def serve(
    checkpoint: Path | None,
    demo: bool,
    endpoint: str | None,
    endpoint_key_file: Path | None,
    tensor_parallel: int,
    vocoder: Path | None,
    voice: Path | None,
    host: str,
    port: int,
    name: str | None,
    max_tokens: int,
    max_seconds: float,
    max_megabytes: float,
    batch: int,
    max_queue: int,
    api_key_file: Path | None,
    recogniser: str | None,
    tokenizer: str | None,
    vocabulary: str | None,
    as_json: bool,
) -> None:
    """Answer over HTTP, in text and speech, until Ctrl-C.

    POST /v1/chat/completions is OpenAI's: `modalities` ["text"] or ["text", "audio"], questions as text or
    `input_audio`, answers as `wav` (22.05 kHz) or `pcm16` (24 kHz), whole or streamed. GET / is a page to
    talk to the model; GET /v1/models, /health and /metrics describe the server. Requests can't name files.
    Without --api-key-file anyone who can reach the address can send requests.
    """
    require_extra("serve")
    folder = checkpoint_of(checkpoint, demo)
    model_endpoint = endpoint_of(endpoint, endpoint_key_file, tensor_parallel)
    keys = ApiKeys() if api_key_file is None else ApiKeys.read(api_key_file)
    bound = bind(host, port)

    from pipeline.inference.answer_vocoder import open_answer_vocoder
    from pipeline.inference.question_recogniser import QuestionRecogniser
    from pipeline.inference.remote_answerer import open_answerer_at
    from pipeline.serving.model import Limits, ServedModel
    from pipeline.serving.server import create_server

    # The checkpoint last, since it may take minutes: what is named wrongly is reported before.
    ears = QuestionRecogniser(recogniser) if recogniser else None
    answer_vocoder = open_answer_vocoder(vocoder, voiced=voice is not None)
    answerer = open_answerer_at(model_endpoint, folder, tokenizer, vocabulary, tensor_parallel)
    if answerer.note:
        click.echo(answerer.note, err=True)
    answer_vocoder.check(answerer.models, answerer.tokenizer)
    if voice:
        answer_vocoder = answer_vocoder.with_voice(voice, answerer.tokenizer, answerer.models)
    limits = Limits(max_tokens, max_seconds, max_megabytes)
    model = ServedModel(name or folder.resolve().name, answerer, answer_vocoder, limits, batch, ears)
    server = create_server(model, max_queue, keys)
    # Questions and answers never appear in the log.
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("aqaa_data.serve").setLevel(logging.INFO)
    url = url_of(host, bound)
    bound.listen()
    try:
        if as_json:
            print_json({"url": url, "model": model.name})
            sys.stdout.flush()
        click.echo(f"{model.name} answers at {url} (Ctrl-C to stop)", err=True)
        server.run(sockets=[bound])
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
