"""Puts a trained talk model into the package, in half precision, for `aqaa-data serve --demo`.

    python -m tests.benchmarks.ship_talk runs/talk/merge/model

Writes config.json, model.safetensors and vocabulary.json to stages/train/talk, and prints the sha256 that
`PACKAGED` in pipeline/models.py is to have. Write its README.md by hand: what it was trained on, and how well
it answers (talk_answers.py). Put the folder into NOTICE, too.
"""

import argparse
from pathlib import Path

import torch

from pipeline.models import resolve
from stages.train.backbone import load
from stages.train.checkpoint import read_vocabulary, save
from tests.paths import ROOT

FOLDER = ROOT / "stages" / "train" / "talk"
BYTES = 25_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--to", type=Path, default=FOLDER, help="default: the package")
    arguments = parser.parse_args()
    model = load(arguments.checkpoint, "cpu")
    # Weights of float16 have three more bits than those of bfloat16, and none of them is large.
    save(model, arguments.to, read_vocabulary(arguments.checkpoint), torch.float16)
    if not all(tensor.isfinite().all() for tensor in load(arguments.to, "cpu").state_dict().values()):
        raise SystemExit(f"{arguments.checkpoint} has weights that are too large for half precision")
    shipped = resolve(f"file:{arguments.to}")
    print(f"{arguments.to}: {shipped.bytes:,} bytes, sha256 {shipped.sha256}")
    if shipped.bytes > BYTES:
        raise SystemExit(f"that is over the {BYTES:,} bytes that a package may carry")


if __name__ == "__main__":
    main()
