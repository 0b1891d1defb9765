import math

import pytest

from stages.train.config import TrainConfig
from stages.train.optimizer import learning_rate

CONFIG = TrainConfig(learning_rate=2e-5, final_learning_rate=2e-6, warmup=0.1)


def test_the_learning_rate_rises_linearly_to_its_peak():
    assert [learning_rate(step, 40, CONFIG) for step in range(4)] == pytest.approx([5e-6, 1e-5, 1.5e-5, 2e-5])


def test_the_learning_rate_decays_by_a_cosine_to_the_final_one():
    assert learning_rate(4, 40, CONFIG) == pytest.approx(2e-5)
    third = learning_rate(4 + 12, 41, CONFIG.model_copy(update={"warmup": 4 / 41}))
    assert third == pytest.approx(2e-6 + 1.8e-5 * (1 + math.cos(math.pi / 3)) / 2)
    assert learning_rate(39, 40, CONFIG) == pytest.approx(2e-6)


def test_without_warm_up_the_first_step_has_the_peak_learning_rate():
    assert learning_rate(0, 10, CONFIG.model_copy(update={"warmup": 0})) == pytest.approx(2e-5)


def test_a_run_of_one_step_has_a_learning_rate():
    assert learning_rate(0, 1, CONFIG) == pytest.approx(2e-5)
