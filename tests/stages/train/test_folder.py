"""Which runs a folder may belong to."""

import pytest

from schemas.errors import SetupError
from stages.train.config import TrainConfig
from stages.train.folder import claim, recorded


def run(**settings):
    return {"config": recorded(TrainConfig(**settings), {"steps"})}


def test_a_run_of_an_earlier_release_goes_on_with_the_default_precision(tmp_path):
    claim(tmp_path, run(precision="bfloat16"))  # which was the default
    claim(tmp_path, run())
    with pytest.raises(SetupError, match=r"its config\.precision is bfloat16, not float32"):
        claim(tmp_path, run(precision="float32"))
    with pytest.raises(SetupError, match=r"its config\.learning_rate is"):
        claim(tmp_path, run(learning_rate=1.0))
