"""Model references."""

import pytest

from pipeline.models import PACKAGED, resolve
from schemas.errors import SetupError


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_every_packaged_model_is_installed_and_hashed(name):
    model = resolve(f"package:{name}")
    assert model.path.exists()
    assert model.bytes > 100_000
    assert len(model.sha256) == 64


def test_the_two_parts_of_whisper_base_are_joined_into_what_was_published():
    import hashlib

    digest = hashlib.sha256((resolve("package:whisper-base").path / "model.bin").read_bytes()).hexdigest()
    assert digest.startswith("905e5bf8")


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("package:whisper-bsae", "did you mean package:whisper-base"),
        ("package:zzz", "there are campplus"),
        ("whisper-base", "write package:NAME"),
        ("file:/no/such/model", "there is no /no/such/model"),
        ("hub:nobody/nothing", "aqaa-data models pull hub:nobody/nothing"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_with_what_to_do(reference, told):
    with pytest.raises(SetupError, match=told):
        resolve(reference)
