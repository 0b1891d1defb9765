"""Speaks sentences in many voices of Kokoro-82M, as utterances of many speakers for `compose_dialogues.py`.

    python tests/benchmarks/speak_kokoro.py VOICES SENTENCES --out DIR

VOICES is the folder of voices (`*.bin`) in the npm package kokoro-js. All of them speak American English,
whatever their own language. Writes OUT/VOICE_N.flac and OUT/utterances.jsonl. Voices that CAM++ can hardly
tell apart are one person under several names, so only the first of them speaks.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from pipeline.models import resolve
from stages.diarize.clustering import unit
from stages.diarize.embedding import SpeakerEmbedding
from stages.synthesize.audio import SynthesizedAudio
from stages.synthesize.kokoro import MODEL, RATE, Kokoro
from stages.synthesize.styles import StyleConfig

SAME_PERSON = 0.75
"""Cosine of the embeddings of two voices from which they count as one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("voices", type=Path)
    parser.add_argument("sentences", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-voice", type=int, default=10, help="sentences per voice (default: 10)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = [line for line in arguments.sentences.read_text(encoding="utf-8").split("\n") if line.strip()]
    paths = sorted(arguments.voices.glob("*.bin"))
    # A name that begins with `am_` stands for a voice of American English.
    kokoro = Kokoro(resolve(MODEL).path, {f"am_{path.stem}": path for path in paths})
    embedding = SpeakerEmbedding(resolve("package:campplus-zh-en").path)
    known: list[NDArray[np.float64]] = []
    with (arguments.out / "utterances.jsonl").open("w", encoding="utf-8") as listing:
        for number, path in enumerate(paths):
            rng = np.random.default_rng(number)
            chosen = [lines[i] for i in rng.permutation(len(lines))[: arguments.per_voice]]
            spoken: list[NDArray[np.float32]] = []
            for line in chosen:
                style = StyleConfig(speed=float(rng.uniform(0.9, 1.15)))
                (utterance,) = kokoro.speak([line], f"am_{path.stem}", style)
                if not isinstance(utterance, SynthesizedAudio):
                    raise utterance
                spoken.append(utterance.samples)
            voice = unit(embedding([soxr.resample(s, RATE, 16_000) for s in spoken[:4]]).sum(axis=0))
            if any(float(voice @ other) > SAME_PERSON for other in known):
                continue
            known.append(voice)
            for index, (line, samples) in enumerate(zip(chosen, spoken, strict=True)):
                name = f"{path.stem}_{index}.flac"
                soundfile.write(arguments.out / name, samples, RATE)
                listing.write(json.dumps({"path": name, "speaker": path.stem, "text": line}) + "\n")


if __name__ == "__main__":
    main()
