"""How many held-out questions of `aqaa-data init --talk` a model answers aloud, as they are heard.

    python -m tests.benchmarks.talk_answers CHECKPOINT --folder DIR --voices af_heart espeak-ng:en-us
    python -m tests.benchmarks.talk_answers CHECKPOINT --folder DIR --voices file:/x/af_sky.bin --limit 200

Every voice asks the same questions. A question is answered as `aqaa-data answer` does, after the earlier
turns of its dialogue as text. The packaged recogniser hears the answer, and the question's rule decides.
Prints, and writes to DIR/SETTINGS/judged.json, by voice and by family:

- `right`: share of heard answers that are right, with Wilson's 95 % interval;
- `written`: the same of the answers' texts;
- `words`: share of the words of the answers' texts that are heard otherwise (text-speech WER);
- `obeyed`: share of the slower, faster, louder and softer answers whose pace or level is nearer to that of
  the assistant's voice speaking the text in this style than to that of its plain voice;
- `first sound`: median and 95th percentile of the seconds until an answer is heard.

What was spoken and what was judged is kept in DIR: the same command goes on where it was stopped. SETTINGS
begins with the hashes of checkpoint and vocoder, and DIR/SETTINGS/VOICE has the answers as WAV files. Times
are those of the machine as it is, busy or not.
"""

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.recipe import load
from pipeline.inference.answer_vocoder import AnswerVocoder, AudioChunk, open_answer_vocoder
from pipeline.inference.answerer import Answerer, open_answerer
from pipeline.inference.conversation import PromptMessage, prompt
from pipeline.inference.latency import Latency
from pipeline.inference.wav import wav
from pipeline.models import resolve
from schemas.errors import DataError
from stages.stage import SAMPLE_RATE
from stages.synthesize.audio import SynthesizedAudio, resample
from stages.synthesize.speech import Backend, speakable
from stages.synthesize.styles import UNCHANGED, StyleConfig
from stages.synthesize.talk import judging_dialogues
from stages.synthesize.talk.hearing import right
from stages.train.sampling import Answer, Sampling
from stages.train.vocoder.shape import RATE
from stages.transcribe.whisper import WhisperRecogniser
from stages.word_errors import errors
from tests.benchmarks.talk_speakers import speaker_of, spoken
from tests.paths import ROOT

QUESTIONS = 1000
RECIPE = ROOT / "pipeline" / "recipes" / "talk.yaml"
ASSISTANT = "package:piper-joe"
SILENCE = 0.3
"""Seconds before and after a question."""
TOKENS = 600
"""Most tokens of an answer."""
Z = 1.96
"""Standard deviations of a 95 % interval."""
FRAME = 0.02
"""Seconds over which a level is measured."""
QUIET_DB = 35
"""Level below the loudest frame under which the edges of an answer are silence."""
PACES, LEVELS = ("slow", "fast"), ("loud", "soft")
"""Styles that are measured by pace, and by level."""


@dataclass(frozen=True)
class Judged:
    """A question asked by a voice, and what was heard in answer."""

    voice: str
    number: int
    """Of the question."""
    family: str
    style: str | None
    question: str
    said: str
    """The text of the answer."""
    heard: str
    right: bool
    written_right: bool
    wrong_words: int
    words: int
    seconds: float
    """Of the sounding part; 0 for silence."""
    level: float | None
    """Mean level of the sounding part, in dB of full scale."""
    plain: tuple[float, float] | None
    """Seconds and level of the assistant's voice speaking the text; None for one that it can't say."""
    styled: tuple[float, float] | None
    """The same in the style of the question."""
    first_sound: float | None
    reason: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--folder", type=Path, required=True, help="where to keep what is spoken and judged")
    parser.add_argument("--voices", nargs="+", required=True, help="who asks; talk_speakers.py names them")
    parser.add_argument(
        "--limit", type=int, default=QUESTIONS, help="questions a voice (default: %(default)s)"
    )
    parser.add_argument("--silence", type=float, default=SILENCE, help="seconds before and after a question")
    parser.add_argument("--temperature", type=float, default=0.7, help="of the sampling")
    parser.add_argument("--tokenizer", help="speech tokenizer in place of the checkpoint's")
    parser.add_argument("--vocoder", type=Path, help="vocoder in place of the bundled one")
    arguments = parser.parse_args()
    judge = Judge.opened(
        arguments.checkpoint,
        arguments.folder,
        Sampling(temperature=arguments.temperature, max_tokens=TOKENS),
        arguments.silence,
        arguments.tokenizer,
        arguments.vocoder,
    )
    rows = [dialogue.row() for dialogue in judging_dialogues(arguments.limit)]
    judged = [each for voice in arguments.voices for each in judge.ask(voice, rows)]
    report = report_of(judged)
    (judge.folder / "judged.json").write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(table(report)))


@dataclass(frozen=True)
class Judge:
    answerer: Answerer
    vocoder: AnswerVocoder
    recogniser: WhisperRecogniser
    assistant: Backend
    styles: dict[str, StyleConfig]
    sampling: Sampling
    silence: float
    speech: Path
    """Folder of what was spoken."""
    folder: Path
    """Of what was judged, with these models and settings."""

    @classmethod
    def opened(
        cls,
        checkpoint: Path,
        folder: Path,
        sampling: Sampling,
        silence: float = SILENCE,
        tokenizer: str | None = None,
        vocoder: Path | None = None,
    ) -> "Judge":
        answer_vocoder = open_answer_vocoder(vocoder)
        answerer = open_answerer(checkpoint, tokenizer)
        answer_vocoder.check(answerer.models)
        of, by = (resolve(f"file:{each.resolve()}").sha256 for each in (checkpoint, answer_vocoder.directory))
        judged = folder / f"{of[:12]}-{by[:12]}-{sampling.temperature:g}-{silence:g}"
        judged.mkdir(parents=True, exist_ok=True)
        recogniser = WhisperRecogniser(resolve("package:whisper-base").path, "cpu", "int8", 5, 1)
        styles = load(RECIPE).synthesize.styles
        speech = folder / "speech"
        assistant = speaker_of(ASSISTANT, speech)
        return cls(answerer, answer_vocoder, recogniser, assistant, styles, sampling, silence, speech, judged)

    def ask(self, voice: str, rows: Sequence[dict[str, Any]]) -> list[Judged]:
        """What was judged before, and the rest, of which each is written as it is there."""
        name = voice.rpartition("/")[2].replace(":", "-")
        file, sounds = self.folder / f"{name}.jsonl", self.folder / name
        sounds.mkdir(exist_ok=True)
        before = map(json.loads, file.read_text().splitlines()) if file.exists() else ()
        known = {each["number"]: Judged(**each) for each in before}
        missing = [number for number in range(len(rows)) if number not in known]
        speaker = speaker_of(voice, self.speech) if missing else None
        with file.open("a", encoding="utf-8") as lines:
            for number in missing:
                assert speaker is not None
                question = spoken(speaker, rows[number]["messages"][-2]["content"], voice)
                judged, samples = self._judged(voice, number, rows[number], question)
                (sounds / f"{number:04d}.wav").write_bytes(wav(samples, RATE))
                lines.write(json.dumps(asdict(judged), ensure_ascii=False) + "\n")
                lines.flush()
                known[number] = judged
                so_far = [each.right for each in known.values()]
                print(f"{voice}: {sum(so_far)} of {len(so_far)} right", end="\r", flush=True)
        return [known[number] for number in range(len(rows))]

    def _judged(
        self, voice: str, number: int, row: dict[str, Any], question: SynthesizedAudio
    ) -> tuple[Judged, NDArray[np.float32]]:
        latency = Latency()
        answer, samples = self.answer(row, question, latency)
        heard = self.hear(samples)
        found = errors("en", answer.text, heard)
        style = row.get("answer_style")
        seconds, level = sounding(samples, RATE)
        references = [self._reference(answer.text, each) for each in (None, style)]
        judged = Judged(
            voice=voice,
            number=number,
            family=row["family"],
            style=style,
            question=row["messages"][-2]["content"],
            said=answer.text,
            heard=heard,
            right=right(row, heard),
            written_right=right(row, answer.text),
            wrong_words=found.wrong if found else 0,
            words=found.of if found else 0,
            seconds=seconds,
            level=level,
            plain=references[0],
            styled=references[1] if style else None,
            first_sound=latency.first_sound,
            reason=answer.reason,
        )
        return judged, samples

    def answer(
        self, row: dict[str, Any], question: SynthesizedAudio, latency: Latency
    ) -> tuple[Answer, NDArray[np.float32]]:
        """The answer to the last question of a dialogue, asked in a voice, and its samples [n] at `RATE`."""
        silence = np.zeros(round(self.silence * SAMPLE_RATE), np.float32)
        samples = np.concatenate([silence, resample(question, SAMPLE_RATE), silence])
        (codes,) = self.answerer.tokenizer.encode([samples])
        roles = {"user": "human", "assistant": "assistant"}
        earlier = [PromptMessage(roles[m["role"]], (m["content"],)) for m in row["messages"][:-2]]
        ids = prompt([*earlier, PromptMessage("human", (codes,))], self.answerer.vocabulary)
        events = self.answerer.answer(ids, self.answerer.form, self.sampling)
        blocks = [np.zeros(0, np.float32)]
        for event in self.vocoder.speak(events, self.sampling.seed):
            latency.record(event)
            if isinstance(event, AudioChunk):
                blocks.append(event.samples)
            elif isinstance(event, Answer):
                answer = event
        return answer, np.concatenate(blocks)

    def hear(self, samples: NDArray[np.float32]) -> str:
        """The words of an answer [n] at `RATE`."""
        if len(samples) < FRAME * RATE:
            return ""
        window = resample(SynthesizedAudio(samples, RATE), SAMPLE_RATE)[: 30 * SAMPLE_RATE]
        return self.recogniser.recognise([window], "en")[0].text.strip()

    def _reference(self, text: str, style: str | None) -> tuple[float, float] | None:
        """Seconds and level of the assistant's voice in a style; None for a text that it can't say."""
        try:
            utterance = spoken(
                self.assistant, speakable(text), ASSISTANT, self.styles[style] if style else UNCHANGED
            )
        except DataError:  # a model that was hardly trained writes anything
            return None
        seconds, level = sounding(utterance.samples, utterance.rate)
        return None if level is None else (seconds, level)


def sounding(samples: NDArray[np.float32], rate: int) -> tuple[float, float | None]:
    """Seconds from the first to the last frame that isn't quiet, and their mean level in dB; of silence 0 and
    None."""
    size = round(FRAME * rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    powers = np.mean(np.square(frames, dtype=np.float64), axis=1)
    if not len(powers) or powers.max() < 1e-8:
        return 0.0, None
    loud = np.flatnonzero(powers > powers.max() / 10 ** (QUIET_DB / 10))
    heard = powers[loud[0] : loud[-1] + 1]
    return round(len(heard) * FRAME, 3), round(10 * math.log10(heard.mean()), 2)


def report_of(judged: Sequence[Judged]) -> dict[str, Any]:
    """Figures of all voices together, of each, and of each family."""
    calibration = {voice: _calibration(only(judged, voice=voice)) for voice in names(judged, "voice")}
    return {
        "all": figures(judged, calibration),
        "voices": {v: figures(only(judged, voice=v), calibration) for v in names(judged, "voice")},
        "families": {f: figures(only(judged, family=f), calibration) for f in names(judged, "family")},
    }


def names(judged: Iterable[Judged], field: str) -> list[str]:
    return list(dict.fromkeys(str(getattr(each, field)) for each in judged))


def only(judged: Iterable[Judged], **values: str) -> list[Judged]:
    return [each for each in judged if all(getattr(each, name) == v for name, v in values.items())]


def figures(judged: Sequence[Judged], calibration: dict[str, tuple[float, float]]) -> dict[str, Any]:
    obeyed = [found for each in judged if (found := obeys(each, *calibration[each.voice])) is not None]
    sounds = sorted(each.first_sound for each in judged if each.first_sound is not None)
    words = sum(each.words for each in judged)
    return {
        "questions": len(judged),
        "right": wilson(sum(each.right for each in judged), len(judged)),
        "written": wilson(sum(each.written_right for each in judged), len(judged)),
        "words": round(sum(each.wrong_words for each in judged) / words, 4) if words else None,
        "obeyed": wilson(sum(obeyed), len(obeyed)) if obeyed else None,
        "first_sound": [median(sounds), sounds[math.ceil(0.95 * len(sounds)) - 1]] if sounds else None,
    }


def _calibration(judged: Sequence[Judged]) -> tuple[float, float]:
    """How the plain answers of a run differ from the assistant's own speech: the median of the logarithm of
    their length, and of their level. A vocoder that is softer throughout doesn't obey "softer"."""
    plain = [each for each in judged if each.style is None and each.plain and each.level is not None]
    if not plain:
        return 0.0, 0.0
    return (
        median(math.log(each.seconds / each.plain[0]) for each in plain if each.plain),
        median(each.level - each.plain[1] for each in plain if each.plain and each.level is not None),
    )


def obeys(judged: Judged, length: float, level: float) -> bool | None:
    """Whether an answer has the style that was asked for, by measure; None without a style that is measured.

    `length` and `level` are the calibration of its run.
    """
    if judged.style not in (*PACES, *LEVELS):
        return None
    if judged.level is None or judged.plain is None or judged.styled is None:
        return False
    if judged.style in PACES:
        own = math.log(judged.seconds) - length
        plain, styled = math.log(judged.plain[0]), math.log(judged.styled[0])
    else:
        own, plain, styled = judged.level - level, judged.plain[1], judged.styled[1]
    return (own - plain) / (styled - plain) > 0.5


def wilson(right: int, of: int) -> list[float]:
    """A share and the bounds of its 95 % interval (Wilson, 1927)."""
    if not of:
        return [0.0, 0.0, 1.0]
    share, spread = right / of, Z**2 / of
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    return [round(value, 4) for value in (share, middle - half, middle + half)]


def table(report: dict[str, Any]) -> Iterable[str]:
    yield "| | questions | right | written | words | obeyed | first sound |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, row in {"all": report["all"], **report["voices"], **report["families"]}.items():
        shares = [_share(row["right"]), _share(row["written"])]
        words = "" if row["words"] is None else f"{row['words']:.1%}"
        sound = "" if row["first_sound"] is None else " / ".join(f"{s:.2f} s" for s in row["first_sound"])
        cells = [name, str(row["questions"]), *shares, words, _share(row["obeyed"]), sound]
        yield f"| {' | '.join(cells)} |"


def _share(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.0%} ({interval[1]:.0%} to {interval[2]:.0%})"


if __name__ == "__main__":
    main()
