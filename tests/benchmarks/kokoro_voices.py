"""How well the voices of kokoro, and those of piper and flite, are understood and told apart.

    python tests/benchmarks/kokoro_voices.py tests/benchmarks/sentences.txt tests/benchmarks/sentences_zh.txt
    python tests/benchmarks/kokoro_voices.py SENTENCES SENTENCES_ZH --voices file:/x/af_sky.bin flite:slt

Every voice speaks twenty sentences of its language. The packaged recogniser transcribes them, and CAM++
compares the voices. Prints a row of a table for each voice:

- the error rate of words, or of characters in Chinese, over all sentences together;
- `itself`: the mean and the lowest cosine of a sentence of over 1.5 s and the other sentences of the voice;
- `others`: the highest cosine of its mean embedding and that of another voice of the language, and which;
- `CPU s/s`: CPU seconds per second of speech, phonemes included, loading and the first sentence not.
"""

import argparse
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.models import resolve
from pipeline.synthesis.speech_models import VOICES, speech_models
from pipeline.synthesis.voice_check import SECONDS_MIN
from stages.diarize.clustering import unit
from stages.diarize.embedding import SpeakerEmbedding
from stages.stage import SAMPLE_RATE
from stages.synthesize.audio import SynthesizedAudio, resample
from stages.synthesize.kokoro import language_of
from stages.synthesize.speech import Backend, SpeechConfig
from stages.transcribe import TranscribeConfig
from stages.transcribe.whisper import WhisperRecogniser
from stages.word_errors import errors

PIPER = "package:piper-joe"
SENTENCES = 20
LENGTHS = range(8, 60)
"""Characters of the sentences that are taken."""


@dataclass
class Heard:
    voice: str
    language: str
    wrong: int
    of: int
    embeddings: NDArray[np.float64]
    """[sentences over 1.5 s, 192], of unit length."""
    seconds: float
    cpu: float
    """Seconds, of `seconds` of speech."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("english", type=Path, help="sentences, one a line")
    parser.add_argument("chinese", type=Path, help="sentences, one a line")
    parser.add_argument("--voices", nargs="+", help="names or file:/PATH (default: kokoro's and piper's)")
    arguments = parser.parse_args()
    bundled = sorted(file.stem for file in resolve(VOICES).path.glob("*.bin"))
    voices = arguments.voices or [*bundled, PIPER]
    speaker = speech_models(
        SpeechConfig(engine="kokoro", human_voices=voices, assistant_voices=voices)
    ).speaker(1.0)
    sentences = {"en": chosen(arguments.english), "zh": chosen(arguments.chinese)}
    recogniser, embedding = default_recogniser(), SpeakerEmbedding(resolve("package:campplus-zh-en").path)
    heard = []
    for voice in voices:
        language = "zh" if language_of(voice) == "z" else "en"
        heard.append(listen(voice, language, speaker, sentences[language], recogniser, embedding))
        # So that a run that is stopped has told something.
        print(row(heard[-1], heard[:-1]), flush=True)
    print("\n| voice | error rate | itself | others | CPU s/s |\n| --- | --- | --- | --- | --- |")
    for own in heard:
        print(row(own, [other for other in heard if other is not own]))


def default_recogniser() -> WhisperRecogniser:
    settings = TranscribeConfig()
    return WhisperRecogniser(resolve(settings.model).path, "cpu", settings.precision, settings.beam, 1)


def chosen(file: Path) -> list[str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if len(line) in LENGTHS][:SENTENCES]


def listen(
    voice: str,
    language: str,
    backend: Backend,
    sentences: Sequence[str],
    recogniser: WhisperRecogniser,
    embedding: SpeakerEmbedding,
) -> Heard:
    backend.speak(sentences[:1], voice)
    before = cpu_seconds()
    spoken = [each for each in backend.speak(sentences, voice) if isinstance(each, SynthesizedAudio)]
    cpu = cpu_seconds() - before
    audio = [resample(each, SAMPLE_RATE) for each in spoken]
    texts = [recogniser.recognise([samples], language)[0].text for samples in audio]
    counts = [errors(language, said, text) for said, text in zip(sentences, texts, strict=True)]
    long = [samples for samples in audio if len(samples) >= SECONDS_MIN * SAMPLE_RATE]
    return Heard(
        voice,
        language,
        sum(count.wrong for count in counts if count),
        sum(count.of for count in counts if count),
        np.concatenate([embedding([samples]) for samples in long]),
        sum(len(samples) for samples in audio) / SAMPLE_RATE,
        cpu,
    )


def row(own: Heard, others: Sequence[Heard]) -> str:
    total = own.embeddings.sum(axis=0)
    itself = [float(each @ unit(total - each)) for each in own.embeddings]
    near = {
        other.voice: float(unit(total) @ unit(other.embeddings.sum(axis=0)))
        for other in others
        if other.language == own.language
    }
    nearest = max(near, key=lambda name: near[name], default=None)
    alike = f"{near[nearest]:.2f} {nearest}" if nearest else ""
    rate = f"{own.wrong / own.of:.1%} {'CER' if own.language == 'zh' else 'WER'}"
    likeness = f"{np.mean(itself):.2f}, {min(itself):.2f}"
    return f"| {own.voice} | {rate} | {likeness} | {alike} | {own.cpu / own.seconds:.2f} |"


def cpu_seconds() -> float:
    """Of this process and of those it ran."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
