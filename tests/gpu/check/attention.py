"""Step 3: FlexAttention over packed documents, forward and backward, against dense attention in float32."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from stages.train.model import alibi_slopes, dense_attention, flex_attention_for
from stages.train.shape import PRESETS
from tests.gpu.check.setting import Facts, Setting, apart, at_most

DOCUMENT = 700
"""Mean length of a document."""


def measure(setting: Setting) -> Iterator[Facts]:
    shape = PRESETS[setting.pick("step1-3b", "tiny")]
    slopes = alibi_slopes(shape.heads)
    length = setting.pick(4096, 512)
    documents = documents_of(length, setting)
    inputs = inputs_of(shape.heads, shape.groups, shape.head, length, setting)
    exact = results(dense_attention(documents, slopes), inputs, torch.float32, backward=setting.on_gpu)
    flex = flex_attention_for(documents, slopes, compiled=setting.on_gpu)
    if not setting.on_gpu:
        yield {"backward": "FlexAttention has none on a CPU"}
    for dtype, most in ((torch.float32, 2e-3), (torch.bfloat16, 2e-2)):  # tf32 may be used
        name = str(dtype).removeprefix("torch.")
        found = results(flex, inputs, dtype, backward=setting.on_gpu)
        for part, expected, actual in zip(("output", "q", "k", "v"), exact, found, strict=False):
            yield at_most(f"{name}_{part}_apart", apart(expected, actual), most)
    del exact, found
    for length in setting.pick((8192, 32768), (1024,)):
        documents = documents_of(length, setting)
        inputs = inputs_of(shape.heads, shape.groups, shape.head, length, setting)
        attend = flex_attention_for(documents, slopes, compiled=setting.on_gpu)
        setting.reset_peak()
        seconds = setting.seconds(
            lambda a=attend, i=inputs: results(a, i, torch.bfloat16, backward=setting.on_gpu)
        )
        squares = float(torch.bincount(documents[0]).double().square().sum())
        # Two products of n^2 / 2 for a document of n, and backward takes 2.5 times that.
        operations = 2 * shape.hidden * squares * (3.5 if setting.on_gpu else 1)
        yield {
            f"{length}_milliseconds": round(1000 * seconds, 2),
            f"{length}_tflops": round(operations / seconds / 1e12, 2),
            f"{length}_peak_gb": setting.peak_gb(),
        }


def documents_of(length: int, setting: Setting) -> Tensor:
    """Document numbers [1, length] of documents of random lengths."""
    ends = torch.rand(length, generator=torch.Generator().manual_seed(length)) < 1 / DOCUMENT
    return ends.long().cumsum(0)[None].to(setting.device)


def inputs_of(heads: int, groups: int, width: int, length: int, setting: Setting) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, count, length, width, generator=generator).to(setting.device)
        for count in (heads, groups, groups)
    ]


def results(
    attend: Callable[..., Tensor], inputs: list[Tensor], dtype: torch.dtype, backward: bool
) -> list[Tensor]:
    """The output, and the gradients of its sum of squares by queries, keys and values."""
    own = [x.to(dtype).requires_grad_(backward) for x in inputs]
    with torch.set_grad_enabled(backward):
        output = attend(*own)
    if not backward:
        return [output]
    return [output, *torch.autograd.grad(output.float().square().sum(), own)]
