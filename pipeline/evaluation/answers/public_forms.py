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
from pathlib import Path
from typing import Any

from pipeline.inputs.row_files import read_rows
from schemas.benchmark import DIMENSIONS, BenchmarkRow, BenchmarkTurn
from schemas.errors import DataError, SetupError

Audio = Callable[[str], bytes]
Fields = dict[str, Any]

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


def recognised(place: str) -> tuple[list[BenchmarkRow], Audio] | None:
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


def _rows_of(path: Path | Iterable[Path]) -> Iterator[tuple[str, Fields]]:
    for where, value in read_rows([str(path)] if isinstance(path, Path) else [str(each) for each in path]):
        if isinstance(value, DataError):
            raise SetupError(f"{where}: {value.message}")
        yield where, value


def _step_eval(folder: Path) -> tuple[list[BenchmarkRow], Audio]:
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise SetupError(f"{folder} has {ARCHIVE} but no Parquet file of StepEval-Audio-360 beside it")
    rows = []
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
        rows.append(
            BenchmarkRow(id=str(fields[str(names["id"])]), dimension=near or dimension or "all", turns=turns)
        )
    return rows, _archive(folder / ARCHIVE)


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


def _turns(values: Sequence[Any], where: str) -> tuple[BenchmarkTurn, ...]:
    """The questions of a conversation. What the assistant said in the original is left out: the model's own
    answers are the history."""
    turns = []
    for number, value in enumerate(values, 1):
        if isinstance(value, str):
            turns.append(BenchmarkTurn(text=value))
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
            BenchmarkTurn(
                audio=None if audio is None else str(value[audio]),
                text=None if text is None else str(value[text]),
                reference=None if reference is None else str(value[reference]),
            )
        )
    if not turns:
        raise SetupError(f"{where}: the conversation has no question")
    return tuple(turns)


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
        found = next(
            (key for key in members if key == wanted or key.endswith(f"/{wanted}") or wanted.endswith(key)),
            None,
        )
        if found is None:
            raise FileNotFoundError(f"{path.name} has no {name}")
        return members[found]

    return read


def _voice_bench(path: Path) -> tuple[list[BenchmarkRow], Audio]:
    rows, sounds = [], {}
    for number, (where, fields) in enumerate(_rows_of(path)):
        audio = fields["audio"]
        if not isinstance(audio, dict) or not isinstance(audio.get("bytes"), bytes):
            raise SetupError(f"{where}: `audio` has no bytes, as the Parquet files of VoiceBench do")
        name = f"audio-{number}"
        sounds[name] = audio["bytes"]
        right = _named(fields, _REFERENCE)
        turn = BenchmarkTurn(
            audio=name, text=fields["prompt"], reference=None if right is None else str(fields[right])
        )
        dimension = str(fields.get("subset") or fields.get("category") or path.stem.partition("-")[0])
        row_id = str(fields.get("id") or f"{dimension}-{number:05d}")
        rows.append(BenchmarkRow(id=row_id, dimension=dimension, turns=(turn,)))
    return rows, sounds.__getitem__


def _uro_bench(path: Path) -> tuple[list[BenchmarkRow], Audio]:
    files = [path] if path.is_file() else sorted(path.rglob("*.jsonl"))
    rows, homes = [], {}
    for file in files:
        for number, (where, fields) in enumerate(_rows_of(file), 1):
            rounds = fields.get("dialogue") or [fields]
            if missing := [key for each in rounds for key in ("source_wav",) if key not in each]:
                raise SetupError(f"{where}: no {missing[0]}; the row has {', '.join(sorted(fields))}")
            turns = []
            for each in rounds:
                target = each.get("target_text")
                reference = " / ".join(target) if isinstance(target, list) else target
                homes[f"{file.parent.name}/{each['source_wav']}"] = file.parent / each["source_wav"]
                turns.append(
                    BenchmarkTurn(
                        audio=f"{file.parent.name}/{each['source_wav']}",
                        text=each.get("source_text"),
                        reference=None if reference is None else str(reference),
                    )
                )
            dimension = file.parent.name if file.stem == "test" else file.stem
            row_id = f"{dimension}-{fields.get('id', number)}"
            rows.append(BenchmarkRow(id=row_id, dimension=dimension, turns=tuple(turns)))
    return rows, lambda name: homes[name].read_bytes()


def _vocal_bench(files: Sequence[Path], folder: Path) -> tuple[list[BenchmarkRow], Audio] | None:
    rows = []
    for file in files:
        try:
            listed = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SetupError(f"{file} is not valid JSON: {error}") from None
        if not isinstance(listed, list) or not listed or not isinstance(listed[0], dict):
            continue
        for number, fields in enumerate(listed, 1):
            if missing := [key for key in ("Qid", "Audio", "Question") if key not in fields]:
                if "turns" in fields:
                    return None
                raise SetupError(
                    f"{file.name}, entry {number}: no {', '.join(missing)}; it has "
                    f"{', '.join(sorted(fields))}"
                )
            before = [
                BenchmarkTurn(text=str(each["value"]))
                for each in fields.get("Context") or ()
                if each.get("from") == "user"
            ]
            answer = fields.get("Answer")
            last = BenchmarkTurn(
                audio=str(fields["Audio"]),
                text=str(fields["Question"]),
                reference=str(answer) if answer else None,
            )
            rows.append(BenchmarkRow(id=str(fields["Qid"]), dimension=file.stem, turns=(*before, last)))
    if not rows:
        return None
    homes = (folder, folder.parent, folder / "audio")

    def read(name: str) -> bytes:
        for home in homes:
            if (home / name).is_file():
                return (home / name).read_bytes()
        raise FileNotFoundError(f"{folder} has no {name}")

    return rows, read


def _named(fields: Fields, names: Iterable[str]) -> str | None:
    """The first of some names that has a value."""
    return next((name for name in names if fields.get(name) not in (None, "")), None)
