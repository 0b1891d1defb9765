"""Validation in training: every few steps a copy of the model is measured in memory, such as by its answers.

What is measured comes from outside (`Validation.open`); its values are metrics of the step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from stages.train.backbone import for_inference, inference_dtype
from stages.train.lora import MergedTensors
from stages.train.model import Backbone
from stages.train.parallel import World

Measure = Callable[[Backbone, int], dict[str, Any]]
"""Measures a model after a number of steps: name -> value, may be nested. Raises SetupError."""


@dataclass(frozen=True)
class Validation:
    """As it is passed to every process."""

    every: int
    """Steps between two validations; the last step always has one."""
    open: Callable[[], Measure]
    """Called once, in the first process."""


class Validator:
    """Validates a model that is distributed over the processes of a run; all of them must call it alike."""

    def __init__(
        self, validation: Validation, model: Backbone, blank: Callable[[], Backbone], world: World
    ) -> None:
        """`blank` makes the same model on the meta device."""
        self._validation, self._model, self._blank, self._world = validation, model, blank, world
        self._measure: Measure | None = None

    def due(self, done: int, steps: int) -> bool:
        """Whether to validate after `done` of `steps` steps."""
        return done % self._validation.every == 0 or done == steps

    def __call__(self, done: int) -> dict[str, Any]:
        """The measures of the model after `done` steps, the same in all processes. Raises SetupError."""
        model = self._copy()

        def measure() -> dict[str, Any]:
            assert model is not None
            self._measure = self._measure or self._validation.open()
            return self._measure(model, done)

        return self._world.first(measure)

    @torch.no_grad()
    def _copy(self) -> Backbone | None:
        """The whole model in the first process, for inference. The processes gather one tensor at a time."""
        tensors = MergedTensors(self._model)
        if not self._world.is_first:
            for name in tensors.parts:
                tensors.whole(name)
            return None
        device = self._world.device
        copy = for_inference(self._blank(), device, inference_dtype(device))
        for name, parameter in copy.state_dict().items():
            parameter.copy_(tensors.whole(name))
        return copy
