"""The sounds of docs/hear.md: questions that a talk model was never taught, and what it answers.

    python -m tests.benchmarks.talk_page CHECKPOINT --folder DIR --voices af_heart espeak-ng:en-us

Asks the first held-out question of each of some families, in one voice after another, and answers each once
with the seed 0: nothing is chosen by how it sounds. Writes docs/sounds/*.mp3, at most 300 KB together, and
the table of the page between its marks: what was said, what the packaged recogniser hears, and whether that
is right.
"""

import argparse
import html
import io
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline.inference.latency import Latency
from stages.synthesize.audio import SynthesizedAudio, resample
from stages.synthesize.talk import judging_dialogues
from stages.synthesize.talk.hearing import right
from stages.train.sampling import Sampling
from stages.train.vocoder.shape import RATE
from tests.benchmarks.talk_answers import QUESTIONS, TOKENS, Judge
from tests.benchmarks.talk_speakers import speaker_of, spoken
from tests.paths import ROOT

PAGE = ROOT / "docs" / "hear.md"
START, END = "<!-- sounds: made by tests/benchmarks/talk_page.py -->", "<!-- end of sounds -->"
FAMILIES = (
    *("sum", "neighbour", "opposite", "spelling", "comparison", "repeat"),
    *("say in a style", "again in a style", "recall", "cannot know"),
)
BYTES = 300_000
"""Most of all sounds together."""
BIT_RATE = 24_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--folder", type=Path, required=True, help="where to keep what is spoken")
    parser.add_argument("--voices", nargs="+", required=True, help="who asks; talk_speakers.py names them")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to change (default: docs/hear.md)")
    parser.add_argument("--tokenizer", help="speech tokenizer in place of the checkpoint's")
    parser.add_argument("--vocoder", type=Path, help="vocoder in place of the bundled one")
    arguments = parser.parse_args()
    judge = Judge.opened(
        arguments.checkpoint,
        arguments.folder,
        Sampling(max_tokens=TOKENS),
        tokenizer=arguments.tokenizer,
        vocoder=arguments.vocoder,
    )
    sounds = arguments.page.parent / "sounds"
    sounds.mkdir(exist_ok=True)
    for old in sounds.glob("*.mp3"):
        old.unlink()
    rows = list(answered(judge, arguments.voices, sounds))
    size = sum(file.stat().st_size for file in sounds.glob("*.mp3"))
    if size > BYTES:
        raise SystemExit(f"the sounds have {size:,} bytes, and the documentation has room for {BYTES:,}")
    before, _, rest = arguments.page.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    table = "\n".join(["| voice | question | answer | heard | |", "| --- | --- | --- | --- | --- |", *rows])
    arguments.page.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}", encoding="utf-8")
    print(f"{arguments.page}: {len(rows)} answers, {size:,} bytes of sound")


def answered(judge: Judge, voices: Sequence[str], sounds: Path) -> Iterator[str]:
    """The rows of the table; writes their sounds."""
    dialogues = [dialogue.row() for dialogue in judging_dialogues(QUESTIONS)]
    first = {row["family"]: row for row in reversed(dialogues)}
    for number, (family, voice) in enumerate(zip(FAMILIES, cycle(voices), strict=False), 1):
        row = first[family]
        question = spoken(speaker_of(voice, judge.speech), row["messages"][-2]["content"], voice)
        answer, samples = judge.answer(row, question, Latency())
        heard = judge.hear(samples)
        for name, sound in (("question", question), ("answer", SynthesizedAudio(samples, RATE))):
            (sounds / f"{number:02d}-{name}.mp3").write_bytes(mp3(sound))
        cells = (
            voice.rpartition("/")[2].removesuffix(".bin"),
            f"{_player(number, 'question')}<br>{_asked(row)}",
            f"{_player(number, 'answer')}<br>{_escaped(answer.text)}",
            _escaped(heard),
            "right" if right(row, heard) else "**wrong**",
        )
        yield f"| {' | '.join(cells)} |"


def _asked(row: dict[str, Any]) -> str:
    """The question, after the turns before it, which were text."""
    *earlier, question, _ = (message["content"] for message in row["messages"])
    before = "".join(f"*{_escaped(text)}*<br>" for text in earlier)
    return f"{before}{_escaped(question)}"


def _escaped(text: str) -> str:
    return html.escape(" ".join(text.split())).replace("|", "&#124;")


def _player(number: int, name: str) -> str:
    return f'<audio controls preload="none" src="sounds/{number:02d}-{name}.mp3"></audio>'


def mp3(sound: SynthesizedAudio) -> bytes:
    """A mono MP3 file at `RATE`."""
    samples = resample(sound, RATE)
    levels = np.rint(samples.clip(-1, 1) * 32767).astype(np.int16)[None]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=RATE, layout="mono")
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(levels, format="s16", layout="mono")
        frame.sample_rate = RATE
        fifo = av.AudioResampler(format="s16p", layout="mono", rate=RATE, frame_size=stream.frame_size or 576)
        for piece in (*fifo.resample(frame), *fifo.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return buffer.getvalue()


if __name__ == "__main__":
    main()
