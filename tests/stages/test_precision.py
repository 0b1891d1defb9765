"""What `precision` means on a device."""

import pytest
import torch

from stages.precision import computed_in


@pytest.mark.parametrize(
    ("capabilities", "found"),
    [
        ({"avx2": True, "avx512_bf16": False}, "float32"),
        ({"avx512_f": True}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
    ],
)
def test_a_cpu_computes_in_bfloat16_only_if_it_has_instructions_for_it(monkeypatch, capabilities, found):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert computed_in("auto", "cpu") == found
    assert computed_in("auto", "cuda") == "bfloat16"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_named_precision_is_used_on_every_device(precision):
    assert computed_in(precision, "cpu") == computed_in(precision, "cuda") == precision
