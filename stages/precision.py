"""The precision in which a training computes its networks."""

from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]
"""auto: bfloat16 where the device computes in it, float32 elsewhere."""
Computed = Literal["float32", "bfloat16"]


def computed_in(precision: Precision, device: str) -> Computed:
    """What a setting means on a type of device, such as "cuda"."""
    if precision == "auto":
        return "bfloat16" if _computes_bfloat16(device) else "float32"
    return precision


def _computes_bfloat16(device: str) -> bool:
    """Whether a device has instructions for products in bfloat16: without them, a CPU needs many times as
    long as for float32."""
    import torch  # takes seconds

    if device != "cpu":
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
