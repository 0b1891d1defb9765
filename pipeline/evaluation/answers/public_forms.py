"""Public benchmarks in the form in which they are published, as rows of ours.

What their public descriptions say:

- StepEval-Audio-360: Parquet files of conversations, and `audios.tar.gz`
- VoiceBench: Parquet files with `prompt` and `audio`; `reference` or `output` where there is a right answer
- URO-Bench: a `test.jsonl` per task, with `source_wav` and `source_text`, `target_text`, or `dialogue`
- VocalBench: a JSON list per task, with `Qid`, `Audio` and `Question`, `Answer`, `Context`
"""

import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.inputs.row_files import read_rows
from schemas.benchmark import DIMENSIONS, BenchmarkRow, parse_row
from schemas.errors import DataError, SetupError

Audio = Callable[[str], bytes]
Fields = dict[str, Any]
Found = list[tuple[str, BenchmarkRow | DataError]]
"""Where each row is, and the row or what is wrong with it."""

ARCHIVE = "audios.tar.gz"
"""Of StepEval-Audio-360."""

_STEP_EVAL = {
    "id": ("conversation_id", "id", "idx", "index"),
    "dimension": ("dimension", "category", "ability", "task", "type"),
    "turns": ("turns", "conversation", "conversations", "history", "messages", "dialogue"),
}
"""Field -> names of the column that it may have: the data card names none."""
_AUDIO = ("audio", "audio_path", "audio_url", "wav", "path")
_TEXT = ("text", "transcript", "transcription", "content", "query", "question", "prompt")
_REFERENCE = ("reference", "answer", "output", "target_text")
_QUESTION_ROLES = ("user", "human", "")


def recognised(place: str) -> tuple[Found, Audio] | None:
    """The rows of a public benchmark on this machine, and its audio; None if the place holds no known form.

    Raises SetupError that names the columns that are missing.
    """
    path = Path(place.removeprefix("file://"))
    if "://" in place.removeprefix("file://") or not path.exists():
        return None
    folder = path if path.is_dir() else path.parent
    if (folder / ARCHIVE).is_file():
        return _step_eval(folder)
    if path.suffix == ".json":
        return _vocal_bench([path], folder)
    has_rows = path.is_dir() and any(file.suffix in (".jsonl", ".parquet") for file in path.rglob("*"))
    if path.is_dir() and not has_rows and (lists := sorted(path.rglob("*.json"))):
        return _vocal_bench(lists, folder)
    rows = [row for row in _first_rows(path) if isinstance(row, dict)]
    columns = rows[0].keys() if rows else set()
    if "turns" in columns:
        return None
    if "source_wav" in columns or ("dialogue" in columns and path.suffix != ".parquet"):
        return _uro_bench(path)
    if {"prompt", "audio"} <= columns:
        return _voice_bench(path)
    return None


def _first_rows(path: Path) -> Iterator[Any]:
    if path.suffix in (".jsonl", ".parquet") or path.is_dir():
        try:
            yield next(iter(read_rows([str(path)]))).value
        except (SetupError, StopIteration):
            return


def _parsed(value: Any, where: str) -> tuple[str, BenchmarkRow | DataError]:
    try:
        return where, parse_row(value, where)
    except DataError as error:
        return where, error


def _rows_of(path: Path | Iterable[Path]) -> Iterator[tuple[str, Any]]:
    for where, value in read_rows([str(path)] if isinstance(path, Path) else [str(each) for each in path]):
        if isinstance(value, DataError):
            raise SetupError(f"{where}: {value.message}")
        yield where, value


def _step_eval(folder: Path) -> tuple[Found, Audio]:
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise SetupError(f"{folder} has {ARCHIVE} but no Parquet file of StepEval-Audio-360 beside it")
    found: Found = []
    for where, fields in _rows_of(files):
        names = {field: _named(fields, known) for field, known in _STEP_EVAL.items()}
        if missing := [field for field, name in names.items() if name is None]:
            wanted = "; ".join(f"{field} ({', '.join(_STEP_EVAL[field])})" for field in missing)
            raise SetupError(
                f"{where}: no column for {wanted}; the file has {', '.join(sorted(fields))}: rename one, or "
                "write the rows as JSON lines (docs/answers.md)"
            )
        turns = _turns(_listed(fields[str(names["turns"])], where), where)
        category = str(fields[str(names["dimension"])]).strip().lower()
        dimension = re.sub(r"[^a-z0-9]+", "_", category).strip("_")
        near = next(
            (known for known in DIMENSIONS if known.replace("_", "") == dimension.replace("_", "")), None
        )
        row = {"id": str(fields[str(names["id"])]), "dimension": near or dimension or "all", "turns": turns}
        found.append(_parsed(row, where))
    return found, _archive(folder / ARCHIVE)


def _listed(value: Any, where: str) -> list[Any]:
    """The turns of a column: a list, or JSON of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise SetupError(f"{where}: the turns are neither a list nor JSON") from None
    if not isinstance(value, list) or not value:
        raise SetupError(f"{where}: the conversation is not a list of turns")
    return value


def _turns(values: Sequence[Any], where: str) -> list[Fields]:
    """The questions of a conversation. What the assistant said in the original is left out: the model's own
    answers are the history."""
    turns: list[Fields] = []
    for number, value in enumerate(values, 1):
        if isinstance(value, str):
            turns.append({"text": value})
            continue
        if not isinstance(value, dict):
            raise SetupError(f"{where}: turn {number} is neither a text nor an object")
        if str(value.get("role") or value.get("from") or "").lower() not in _QUESTION_ROLES:
            continue
        audio, text, reference = (_named(value, names) for names in (_AUDIO, _TEXT, _REFERENCE))
        if audio is None and text is None:
            raise SetupError(
                f"{where}: turn {number} has none of {', '.join((*_AUDIO, *_TEXT))}; it has "
                f"{', '.join(sorted(value))}"
            )
        turns.append(
            {
                "audio": None if audio is None else str(value[audio]),
                "text": None if text is None else str(value[text]),
                "reference": None if reference is None else str(value[reference]),
            }
        )
    if not turns:
        raise SetupError(f"{where}: the conversation has no question")
    return turns


def _archive(path: Path) -> Audio:
    """Reads members of an archive by their path, or by the end of it."""
    members: dict[str, bytes] = {}

    def read(name: str) -> bytes:
        if not members:
            with tarfile.open(path) as archive:
                for member in archive:
                    content = archive.extractfile(member) if member.isfile() else None
                    if content is not None:
                        members[member.name.removeprefix("./")] = content.read()
        wanted = name.removeprefix("./").lstrip("/")
        if wanted in members:
            return members[wanted]
        ends = (key for key in members if key.endswith(f"/{wanted}") or wanted.endswith(f"/{key}"))
        found = next(ends, None)
        if found is None:
            raise FileNotFoundError(f"{path.name} has no {name}")
        return members[found]

    return read


def _voice_bench(path: Path) -> tuple[Found, Audio]:
    found: Found = []
    sounds = {}
    for number, (where, fields) in enumerate(_rows_of(path)):
        audio = fields["audio"]
        if not isinstance(audio, dict) or not isinstance(audio.get("bytes"), bytes):
            raise SetupError(f"{where}: `audio` has no bytes, as the Parquet files of VoiceBench do")
        name = f"audio-{number}"
        sounds[name] = audio["bytes"]
        right = _named(fields, _REFERENCE)
        reference = None if right is None else str(fields[right])
        turn = {"audio": name, "text": fields["prompt"], "reference": reference}
        dimension = str(fields.get("subset") or fields.get("category") or path.stem.partition("-")[0])
        row_id = str(fields.get("id") or f"{dimension}-{number:05d}")
        found.append(_parsed({"id": row_id, "dimension": dimension, "turns": [turn]}, where))
    return found, sounds.__getitem__


def _uro_bench(path: Path) -> tuple[Found, Audio]:
    files = [path] if path.is_file() else sorted(path.rglob("*.jsonl"))
    root = path if path.is_dir() else path.parent
    found: Found = []
    for file in files:
        home = PurePosixPath(file.parent.relative_to(root).as_posix())
        dimension = file.parent.name if file.stem == "test" else file.stem
        # Tasks of the same name stand in several parts of the benchmark.
        task = "-".join([*home.parts, *([] if file.stem == "test" else [file.stem])]) or dimension
        for number, (line, fields) in enumerate(_rows_of(file), 1):
            where = str(home / line)
            try:
                row_id = f"{task}-{_object(fields, where).get('id', number)}"
                rounds = _objects(fields, "dialogue", where) or [fields]
            except DataError as error:
                found.append((where, error))
                continue
            if any("source_wav" not in each for each in rounds):
                raise SetupError(f"{where}: no source_wav; the row has {', '.join(sorted(fields))}")
            turns = [_uro_turn(each, home) for each in rounds]
            found.append(_parsed({"id": row_id, "dimension": dimension, "turns": turns}, where))
    return found, lambda name: (root / name).read_bytes()


def _uro_turn(fields: Fields, home: PurePosixPath) -> Fields:
    """`home` is the folder of the audio, relative to the benchmark."""
    audio, target = fields["source_wav"], fields.get("target_text")
    reference = " / ".join(map(str, target)) if isinstance(target, list) else target
    return {
        "audio": str(home / audio) if audio and isinstance(audio, str) else audio,
        "text": fields.get("source_text"),
        "reference": None if reference is None else str(reference),
    }


def _vocal_bench(files: Sequence[Path], folder: Path) -> tuple[Found, Audio] | None:
    found: Found = []
    for file in files:
        try:
            listed = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SetupError(f"{file} is not valid JSON: {error}") from None
        if not isinstance(listed, list) or not listed or not isinstance(listed[0], dict):
            continue
        for number, fields in enumerate(listed, 1):
            where = f"{file.name}, entry {number}"
            try:
                before = _objects(_object(fields, where), "Context", where)
            except DataError as error:
                found.append((where, error))
                continue
            if missing := [key for key in ("Qid", "Audio", "Question") if key not in fields]:
                if "turns" in fields:
                    return None
                raise SetupError(f"{where}: no {', '.join(missing)}; it has {', '.join(sorted(fields))}")
            asked = [each.get("value") for each in before if each.get("from") == "user"]
            turns: list[Fields] = [{"text": None if text is None else str(text)} for text in asked]
            answer = fields.get("Answer")
            turns.append(
                {
                    "audio": str(fields["Audio"]),
                    "text": str(fields["Question"]),
                    "reference": str(answer) if answer else None,
                }
            )
            found.append(_parsed({"id": str(fields["Qid"]), "dimension": file.stem, "turns": turns}, where))
    if not found:
        return None
    homes = (folder, folder.parent, folder / "audio")

    def read(name: str) -> bytes:
        for home in homes:
            if (home / name).is_file():
                return (home / name).read_bytes()
        raise FileNotFoundError(f"{folder} has no {name}")

    return found, read


def _object(value: Any, where: str) -> Fields:
    if not isinstance(value, dict):
        raise DataError("bad_row", f"{where}: the row is not an object")
    return value


def _objects(fields: Fields, key: str, where: str) -> list[Fields]:
    """The objects that a field lists; none if it is empty."""
    listed = fields.get(key) or []
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise DataError("bad_row", f"{where}: `{key}` is not a list of objects")
    return listed


def _named(fields: Fields, names: Iterable[str]) -> str | None:
    """The first of some names that has a value."""
    return next((name for name in names if fields.get(name) not in (None, "")), None)
