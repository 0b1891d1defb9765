"""`aqaa-data merge`"""

from pathlib import Path
from typing import Any

import click

from pipeline.commands.arguments import CheckpointType, json_option, print_json


class WeightedCheckpointType(click.ParamType):
    """A checkpoint and its weight."""

    name = "CHECKPOINT=WEIGHT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        folder, _, weight = str(value).rpartition("=")
        try:
            share = float(weight)
        except ValueError:
            self.fail(f"{value!r} is not a checkpoint with its weight, such as runs/sft1=5", param, ctx)
        return CheckpointType().convert(folder, param, ctx), share, folder


@click.command(epilog="Example: aqaa-data merge runs/sft1=5 runs/sft2=5 runs/dpo=1 --out runs/merged")
@click.argument(
    "checkpoints", metavar="CHECKPOINT=WEIGHT...", type=WeightedCheckpointType(), nargs=-1, required=True
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to create."
)
@json_option
def merge(checkpoints: tuple[tuple[Path, float, str], ...], out: Path, as_json: bool) -> None:
    """Write the weighted mean of checkpoints of one shape, vocabulary and precision.

    Checkpoints are folders with safetensors weights, or s3:// URIs of such. They are added up in float32, in
    the given order, one piece of a tensor at a time. merge.json records the hashes of all inputs.
    """
    from stages.train.merge import WeightedCheckpoint
    from stages.train.merge import merge as write

    inputs = [
        WeightedCheckpoint(folder, weight, name if "://" in name else None)  # the folder of a URI is a copy
        for folder, weight, name in checkpoints
    ]
    record = write(inputs, out)
    if as_json:
        print_json({"out": str(out), **record})
        return
    total = sum(weight for _, weight, _ in checkpoints)
    shares = ", ".join(f"{weight / total:.1%} {name}" for _, weight, name in checkpoints)
    click.echo(f"{out} = {shares}")
