"""Settings of training a vocoder."""

from typing import Literal

from pydantic import Field, model_validator

from stages.precision import Precision
from stages.stage import Config


class VocoderTrainConfig(Config):
    preset: Literal["tiny", "demo", "small", "voice"] = Field(
        "small", description="sizes of both networks; `voice` learns the latents of a packaged voice"
    )
    sentences: str | None = Field(
        None,
        description="preset `voice`: file with a sentence per line, in the voice's language, to learn from",
    )
    steps: int = Field(20_000, gt=0, description="number of steps; each trains both networks")
    global_batch_size: int = Field(16, gt=0, description="utterances per step")
    blocks: int = Field(
        6, gt=0, description="blocks of 15 tokens (0.36 s) that the flow sees of an utterance"
    )
    frames: int = Field(48, gt=4, description="frames of 11.6 ms that the generator sees of an utterance")
    learning_rate: float = Field(
        1e-3, gt=0, description="peak learning rate, after the warm-up; then cosine decay"
    )
    warmup: float = Field(0.02, ge=0, lt=1, description="share of the steps with a rising learning rate")
    weight_decay: float = Field(0.01, ge=0, description="of matrices; vectors have no weight decay")
    max_grad_norm: float = Field(
        1, gt=0, description="gradients of a network with a larger norm are clipped to it"
    )
    prior: float = Field(
        1, ge=0, description="weight of the distance between the mel and the encoder's own prediction of it"
    )
    adversarial_from: int | None = Field(
        5000, ge=0, description="step from which the generator is trained with discriminators (null: never)"
    )
    discriminator_width: int = Field(16, gt=0, description="channels of the discriminators' first layers")
    precision: Precision = Field(
        "float32",
        description="precision of the networks' computation (auto: bfloat16 where the device computes in it, "
        "float32 elsewhere)",
    )
    seed: int = Field(0, description="seed of the initial weights, the order, the excerpts and the noise")
    checkpoint_every: int = Field(
        500, gt=0, description="steps between checkpoints; the last step always writes one"
    )
    sample_every: int = Field(
        2000, gt=0, description="steps between synthesised samples; the last step always writes them"
    )
    samples: int = Field(
        3, ge=0, description="number of utterances to synthesise, the first of the validation data"
    )

    @model_validator(mode="after")
    def _check_sentences(self) -> "VocoderTrainConfig":
        if (self.preset == "voice") != (self.sentences is not None):
            raise ValueError("`sentences` belongs to the preset `voice`, which needs it, and to no other")
        return self
