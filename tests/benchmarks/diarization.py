"""Diarization error rate, purity of turns and coverage of the decode and diarize stages.

    python tests/benchmarks/diarization.py dialogues/untouched
    python tests/benchmarks/diarization.py dialogues/untouched --plain plain.json

FOLDER holds recordings, each beside an RTTM with its reference; `compose_dialogues.py` makes such folders.
With `--plain`, the JSON output of `plain_diarization.py` on the same files is shown beside it.

DER: collar 0.5 s in total, overlapping reference speech excluded. A turn counts as kept if diarize sets no
part of it aside and it passes the limits of `select` on its length and voice. "several": share of the kept
time in turns where a second speaker of the reference talks for over a tenth. "covered": share of the
reference speech of single speakers that is in kept turns.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")

import numpy as np
from numpy.typing import NDArray
from pyannote.core import Annotation, Segment, Timeline
from pyannote.database.util import load_rttm
from pyannote.metrics.diarization import DiarizationErrorRate

from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from schemas.recording import Recording, Turn, Unit
from stages.decode import DecodeConfig, DecodeStage
from stages.diarize import DiarizeConfig, DiarizeStage
from stages.select import SelectConfig

FRAMES = 100
"""Frames per second of the reference."""
SEVERAL = 0.1
AUDIO = {".flac", ".wav", ".mp3", ".ogg", ".m4a", ".opus"}


@dataclass(frozen=True)
class Score:
    name: str
    der: float
    speakers: tuple[int, int]
    """In the reference, and found."""
    kept: float
    several: float
    """Kept seconds in turns of several voices."""
    single: float
    """Seconds of single speakers in the reference."""
    covered: float
    cpu_seconds_per_minute: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--plain", type=Path, metavar="JSON", help="output of plain_diarization.py --json")
    parser.add_argument("--channels", default="auto", help="decode.channels (default: auto)")
    parser.add_argument("--similarity", type=float, help="select.voice_similarity_min (default: as shipped)")
    parser.add_argument("--json", type=Path, help="also write the scores and all turns to this file")
    arguments = parser.parse_args()
    plain = json.loads(arguments.plain.read_text())["files"] if arguments.plain else {}
    limits = SelectConfig()
    if arguments.similarity is not None:
        limits = limits.model_copy(update={"voice_similarity_min": arguments.similarity})
    scores, turns_of = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        stages = Stages(Path(scratch), arguments.channels)
        for path in sorted(path for path in arguments.folder.iterdir() if path.suffix in AUDIO):
            score, turns = stages.score(path, limits)
            beside = f"  plain {plain[path.stem]['der']:5.1f} %" if path.stem in plain else ""
            print(f"{line(score)}{beside}", flush=True)
            scores.append(score)
            turns_of[path.stem] = turns
    total = {field: sum(getattr(score, field) for score in scores) for field in ("kept", "several")}
    print(
        f"mean DER {np.mean([score.der for score in scores]):.1f} %, "
        f"several {100 * total['several'] / total['kept']:.1f} %, "
        f"covered {100 * sum(s.covered for s in scores) / sum(s.single for s in scores):.1f} %, "
        f"{np.mean([score.cpu_seconds_per_minute for score in scores]):.2f} CPU s/min"
    )
    if plain:
        worse = [score.name for score in scores if score.der > plain[score.name]["der"] + 2]
        mean = np.mean([plain[score.name]["der"] for score in scores])
        print(f"plain {mean:.1f} %; over 2 points worse than plain: {', '.join(worse) or 'none'}")
    if arguments.json:
        rows = [score.__dict__ | {"turns": turns_of[score.name]} for score in scores]
        arguments.json.write_text(json.dumps(rows, indent=1))


def line(score: Score) -> str:
    several = 100 * score.several / max(score.kept, 1e-9)
    covered = 100 * score.covered / max(score.single, 1e-9)
    speakers = "{} speakers, {} found".format(*score.speakers)
    return (
        f"{score.name:28} {score.der:5.1f} %  several {several:5.1f} %  covered {covered:5.1f} %  {speakers}"
    )


class Stages:
    """Decode and diarize with the default models."""

    def __init__(self, scratch: Path, channels: str) -> None:
        decode, diarize = DecodeConfig.model_validate({"channels": channels}), DiarizeConfig()
        audio = SpooledAudio(scratch, decode, "benchmark")
        models = {reference: resolve(reference).path for reference in diarize.models}
        self._decode = DecodeStage(decode, audio, {})
        self._diarize = DiarizeStage(diarize, audio, models)
        self._decode.setup()
        self._diarize.setup()

    def score(self, path: Path, limits: SelectConfig) -> tuple[Score, list[dict[str, object]]]:
        recording = Recording(path.name, path.as_uri(), path.stat().st_size, "1", "{}")
        unit = self._decode(Unit("unit", (recording,)))
        began = time.process_time()
        (recording,) = self._diarize(unit).recordings
        cpu = time.process_time() - began
        assert recording.decode is not None
        assert recording.decode.result is not None
        seconds = recording.decode.result.seconds
        (reference,) = load_rttm(path.with_suffix(".rttm")).values()
        live = set(recording.live_turns())
        kept = [t for index, t in enumerate(recording.turns) if index in live and _selected(t, limits)]
        active = _active(reference, seconds)
        channel = (
            _channels(path.with_suffix(".rttm"), reference) if recording.decode.result.tracks > 1 else None
        )
        single = active.sum(axis=0) == 1
        in_kept = np.zeros(active.shape[1], dtype=bool)
        for turn in kept:
            in_kept[round(turn.start * FRAMES) : round(turn.end * FRAMES)] = True
        score = Score(
            name=path.stem,
            der=_error_rate(reference, recording.turns, seconds),
            speakers=(len(active), len({turn.speaker for turn in recording.turns})),
            kept=sum(turn.seconds for turn in kept),
            several=sum(turn.seconds for turn in kept if _second(turn, active, channel) > SEVERAL),
            single=float(single.sum()) / FRAMES,
            covered=float((single & in_kept).sum()) / FRAMES,
            cpu_seconds_per_minute=60 * cpu / seconds,
        )
        rows = [
            turn.__dict__
            | {"kept": turn in kept, "second": _second(turn, active, channel), "is": _most(turn, active)}
            for turn in recording.turns
        ]
        return score, rows


def _selected(turn: Turn, limits: SelectConfig) -> bool:
    least = limits.voice_similarity_min
    alike = least is None or turn.voice_similarity is None or turn.voice_similarity >= least
    return alike and turn.seconds >= (limits.seconds_min or 0)


def _active(reference: Annotation, seconds: float) -> NDArray[np.bool_]:
    """Which speakers of the reference talk, [speakers, frames]."""
    names = reference.labels()
    active = np.zeros((len(names), round(seconds * FRAMES) + 1), dtype=bool)
    for segment, _, name in reference.itertracks(yield_label=True):
        active[names.index(name), round(segment.start * FRAMES) : round(segment.end * FRAMES)] = True
    return active


def _channels(rttm: Path, reference: Annotation) -> NDArray[np.int64]:
    """The channel of each speaker, from 0, [speakers]."""
    fields = [line.split() for line in rttm.read_text(encoding="utf-8").split("\n") if line]
    channel = {field[7]: int(field[2]) - 1 for field in fields}
    return np.array([channel[name] for name in reference.labels()])


def _second(turn: Turn, active: NDArray[np.bool_], channel: NDArray[np.int64] | None) -> float:
    """Share of a turn in which a second speaker of the reference talks.

    On a track that is a channel, that is a speaker of another one who leaks into its silence.
    """
    within = _within(turn, active)
    if channel is not None:
        leaks = within[channel != turn.track].any(axis=0) & ~within[channel == turn.track].any(axis=0)
        return float(leaks.mean())
    talking = np.sort(within.mean(axis=1))
    return float(talking[-2]) if len(talking) > 1 else 0.0


def _most(turn: Turn, active: NDArray[np.bool_]) -> int:
    return int(_within(turn, active).sum(axis=1).argmax())


def _within(turn: Turn, active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    start = round(turn.start * FRAMES)
    return active[:, start : max(start + 1, round(turn.end * FRAMES))]


def _error_rate(reference: Annotation, turns: tuple[Turn, ...], seconds: float) -> float:
    """DER in percent."""
    hypothesis = Annotation()
    for index, turn in enumerate(turns):
        hypothesis[Segment(turn.start, turn.end), index] = turn.speaker
    metric = DiarizationErrorRate(collar=0.5, skip_overlap=True)
    return 100 * float(metric(reference, hypothesis, uem=Timeline([Segment(0, seconds)])))


if __name__ == "__main__":
    main()
