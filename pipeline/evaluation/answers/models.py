"""The models that `--model` names."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.evaluation.answers.ears import Ears
from pipeline.evaluation.answers.exchange import AnsweringModel
from pipeline.evaluation.answers.kept import file_name
from pipeline.evaluation.answers.voices import PackagedVoices
from pipeline.inference.remote_answerer import ModelEndpoint
from pipeline.storage.store import Store
from schemas.errors import SetupError
from stages.replies import Replies

CASCADE = "cascade:"


def open_model(
    name: str,
    place: str,
    out: Path,
    ears: Callable[[], Ears],
    voices: PackagedVoices,
    vocoder: Path | None = None,
    endpoint: ModelEndpoint | None = None,
    voice: Path | None = None,
) -> AnsweringModel:
    """A checkpoint's folder, `URL[#MODEL]` of a server with audio in chat completions, or
    `cascade:URL[#MODEL]` of one without. With an `endpoint` the checkpoint's model runs there.

    Replies of servers are kept in the folder `out`. Raises SetupError.
    """
    if is_server(place):
        from pipeline.evaluation.answers.endpoint_model import EndpointModel, endpoint_config

        replies = Replies(Store(str(out)), f"replies/{file_name(name)}")
        config = endpoint_config(place.removeprefix(CASCADE))
        if not place.startswith(CASCADE):
            return EndpointModel(name, config, replies)
        from pipeline.evaluation.answers.cascade_model import CascadeModel

        return CascadeModel(name, config, replies, ears(), voices)
    from pipeline.evaluation.answers.checkpoint_model import open_checkpoint_model

    return open_checkpoint_model(name, Path(place), vocoder, endpoint, voice)


def check_place(place: str) -> None:
    """Raises SetupError for a place that can't be a model, before anything is loaded."""
    if place.startswith(("s3://", "gs://")):
        raise SetupError(
            f"{place} is in a bucket, and an evaluation is noted in the card of its model: copy it to a "
            "folder and name that"
        )
    if not is_server(place) and not (Path(place) / "config.json").is_file():
        raise SetupError(
            f"{place} is not a model: it has no config.json. Name the folder of a checkpoint, "
            f"http(s)://HOST/v1[#MODEL], or {CASCADE}http(s)://HOST/v1[#MODEL]"
        )


def is_server(place: str) -> bool:
    return place.removeprefix(CASCADE).startswith(("http://", "https://"))


def names_of(places: Sequence[str]) -> list[str]:
    """A short name for each model; different ones.

    Of a checkpoint the last folders that tell it from the others: `early/model` is `early`.
    """
    if len(set(places)) < len(places):
        raise SetupError("the same model is named twice: name different ones with --model")
    parts = [_parts(place) for place in places]
    names = []
    for own in parts:
        others = [other for other in parts if other is not own]
        length = next(
            (n for n in range(1, len(own)) if all(other[-n:] != own[-n:] for other in others)), len(own)
        )
        names.append("-".join(own[-length:]))
    return [name if names.count(name) == 1 else f"{name}-{n}" for n, name in enumerate(names, 1)]


def _parts(place: str) -> list[str]:
    if is_server(place):
        address, _, model = place.partition("#")
        host = address.removeprefix(CASCADE).split("/")[2]
        kind = ["cascade"] if place.startswith(CASCADE) else []
        return [host, *kind, *([model.rpartition("/")[2]] if model else [])]
    parts = list(Path(place).resolve().parts[1:])
    return parts[:-1] if len(parts) > 1 and parts[-1] == "model" else parts
