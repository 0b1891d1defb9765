"""What an evaluation keeps in its folder, so that a stopped one goes on and everything can be heard again.

run.json                        the settings; another run with others is refused
questions/<row>-<turn>.wav      as the models got them, with the ending of the benchmark's own file
answers/<model>/model           what the model is
answers/<model>/<row>.json      text, codes, latency and measures of each turn; written last
answers/<model>/<row>-<turn>.wav
replies/<model>/, verdicts/     replies of servers, raw
candidates.jsonl                the answers of all models, as `rate` and `preferences.candidates` read them
results.json, report.html
"""

import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.answers.ears import Heard
from pipeline.evaluation.answers.exchange import SpokenAnswer
from pipeline.evaluation.answers.rules import AnswerTurn
from pipeline.inference.wav import wav
from pipeline.storage.store import Store
from schemas.errors import SetupError
from schemas.recording import Codes

SCHEMA_VERSION = 1
RUN = "run.json"
MODEL = "model"
"""Of a model, beside its answers; without `.json`, so that no row has the name."""
RESULTS = "results.json"
REPORT = "report.html"
CANDIDATES = "candidates.jsonl"
RATINGS = "ratings.jsonl"
"""Scores by people, as `rate` writes them."""


@dataclass(frozen=True)
class KeptTurn:
    text: str
    audio: str | None
    """A WAV file, relative to the folder of the evaluation."""
    codes: tuple[dict[str, list[int]], ...]
    reason: str | None
    latency: dict[str, float | None]
    heard: Heard
    grammar: dict[str, int] | None = None
    """As in `SpokenAnswer`."""

    @property
    def seen(self) -> AnswerTurn:
        """As judges see it."""
        return AnswerTurn(self.text, self.heard)


@dataclass(frozen=True)
class KeptRow:
    """The answers of a model to a row; without turns if it failed."""

    row: str
    turns: tuple[KeptTurn, ...]
    failed: tuple[str, str] | None = None
    """Code and message of why there is no answer."""

    @property
    def seen(self) -> tuple[AnswerTurn, ...]:
        return tuple(turn.seen for turn in self.turns)

    @property
    def silent(self) -> bool:
        """Whether the model answers none of the turns with words."""
        return self.failed is None and all(turn.seen.empty for turn in self.turns)


class EvaluationFolder:
    def __init__(self, path: Path, remedy: str = "Name another folder with --out") -> None:
        """`remedy` ends the messages about a folder with other answers."""
        self.path = path
        self._remedy = remedy

    def begin(self, settings: dict[str, Any]) -> None:
        """Raises SetupError if the folder holds something else, or a run with other settings."""
        if self._goes_on(self.path / RUN, settings, "an evaluation"):
            return
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise SetupError(f"{self.path} holds something else: name a new folder with --out")
        write_whole(self.path / RUN, _json(settings))

    def begin_model(self, model: str, about: dict[str, Any]) -> None:
        """Raises SetupError if the folder has answers of another model of this name."""
        file = self.path / "answers" / file_name(model) / MODEL
        if not self._goes_on(file, about, f"answers of {model}"):
            write_whole(file, _json(about))

    def _goes_on(self, file: Path, settings: dict[str, Any], what: str) -> bool:
        """Whether the settings are stored already. Raises SetupError if others are."""
        if not file.exists():
            return False
        before = json.loads(file.read_text(encoding="utf-8"))
        for name, value in json.loads(json.dumps(settings)).items():
            if before.get(name) != value:
                raise SetupError(
                    f"{self.path} holds {what} with another {name}: {_short(before.get(name))}, and now "
                    f"it is {_short(value)}. {self._remedy}"
                )
        return True

    def question(self, row: str, turn: int, data: bytes, ending: str = ".wav") -> Path:
        """Keep the audio of a question; `turn` from 1, `ending` by the format.

        Raises SetupError if the question that was answered here sounds different.
        """
        file = self.path / "questions" / f"{file_name(row)}-{turn}{ending}"
        if not file.exists():
            write_whole(file, data)
        elif file.read_bytes() != data:
            raise SetupError(
                f"{self.path} holds answers to another recording of question {turn} of {row}. {self._remedy}"
            )
        return file

    def answers(self, model: str, row: str) -> KeptRow | None:
        """None if the row is not answered yet."""
        file = self._row(model, row)
        if not file.exists():
            return None
        content = json.loads(file.read_text(encoding="utf-8"))
        turns = tuple(
            KeptTurn(
                turn["text"],
                turn["audio"],
                tuple(turn["codes"]),
                turn["reason"],
                turn["latency"],
                Heard.of_json(turn["heard"]),
                turn.get("grammar"),
            )
            for turn in content["turns"]
        )
        failed = content["failed"]
        return KeptRow(row, turns, (failed["code"], failed["message"]) if failed else None)

    def keep(self, model: str, row: str, answers: Sequence[tuple[SpokenAnswer, Heard]]) -> None:
        """Keep all answers to a row: the audio first, the JSON last."""
        turns = []
        for number, (answer, heard) in enumerate(answers, 1):
            audio = None
            if answer.samples is not None and len(answer.samples):
                file = self._row(model, row).with_name(f"{file_name(row)}-{number}.wav")
                write_whole(file, wav(np.asarray(answer.samples, np.float32), answer.rate))
                audio = str(file.relative_to(self.path))
            turns.append(
                {
                    "text": answer.text,
                    "audio": audio,
                    "codes": [_codes(voice) for voice in answer.voices],
                    "reason": answer.reason,
                    "latency": answer.latency,
                    "heard": heard.as_json(),
                    "grammar": answer.grammar,
                }
            )
        self._write(model, row, turns, None)

    def keep_failure(self, model: str, row: str, code: str, message: str) -> None:
        self._write(model, row, [], {"code": code, "message": message})

    def forget_failures(self, model: str) -> None:
        """Rows that failed are asked again by the next run."""
        for file in (self.path / "answers" / file_name(model)).glob("*.json"):
            if json.loads(file.read_text(encoding="utf-8"))["failed"]:
                file.unlink()

    def samples(self, audio: str) -> tuple[np.ndarray, int]:
        """The samples [n] of an answer or question, and their rate in Hz."""
        import soundfile

        samples, rate = soundfile.read(io.BytesIO((self.path / audio).read_bytes()), dtype="float32")
        return (samples.mean(axis=1) if samples.ndim == 2 else samples), rate

    def last_recording(self, kept: KeptRow) -> bytes | None:
        """The last answer to a row as WAV; None without speech."""
        audio = kept.turns[-1].audio
        return (self.path / audio).read_bytes() if audio else None

    def write(self, name: str, content: bytes) -> None:
        write_whole(self.path / name, content)

    def _write(self, model: str, row: str, turns: list[Any], failed: dict[str, str] | None) -> None:
        content = {
            "schema_version": SCHEMA_VERSION,
            "model": model,
            "row": row,
            "turns": turns,
            "failed": failed,
        }
        write_whole(self._row(model, row), _json(content))

    def _row(self, model: str, row: str) -> Path:
        return self.path / "answers" / file_name(model) / f"{file_name(row)}.json"


def write_whole(file: Path, data: bytes) -> None:
    """Write a file that exists wholly or not at all, whatever ends the process. Raises SetupError."""
    Store(str(file.parent)).put(file.name, data)


def file_name(name: str) -> str:
    """A name as that of a file: characters other than [A-Za-z0-9._-] become `_`, and a hash is added."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _codes(codes: Codes) -> dict[str, list[int]]:
    return {"linguistic": list(codes.linguistic), "semantic": list(codes.semantic)}


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:200]
