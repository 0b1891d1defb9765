"""One step, in a process of its own: `python -m tests.gpu.check.run_step STEP DEVICE TINY SECONDS FILE`.

What it has found is in FILE at any time.
"""

import importlib
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.gpu.check.setting import CannotRunError, Facts, Setting


def main(step: str, device: str, tiny: str, seconds: str, file: str) -> None:
    until = time.monotonic() + float(seconds)
    import torch

    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(torch.device(device), tiny == "tiny", until, Path(folder))
        with _written(Path(file)) as facts:
            for found in importlib.import_module(f"tests.gpu.check.{step}").measure(setting):
                _add(facts, found)
                _write(facts, Path(file))


@contextmanager
def _written(file: Path) -> Iterator[Facts]:
    facts: Facts = {}
    try:
        yield facts
        facts["ended"] = "done"
    except CannotRunError as error:
        facts["ended"] = f"can't run: {error}"
    except Exception as error:
        traceback.print_exc()
        facts["ended"] = f"failed: {type(error).__name__}: {str(error)[:500]}"
    _write(facts, file)


def _add(facts: Facts, found: Facts) -> None:
    wrong = found.pop("wrong", None)
    facts |= found
    if wrong:
        facts.setdefault("wrong", []).append(wrong)


def _write(facts: Facts, file: Path) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(facts, indent=1) + "\n")
    partial.replace(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
