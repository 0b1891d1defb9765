"""Settings of a vocoder's training."""

from typing import Literal

from pydantic import Field

from stages.stage import Config


class VocoderTrainConfig(Config):
    preset: Literal["tiny", "demo", "small"] = Field("small", description="sizes of both networks")
    steps: int = Field(20_000, gt=0, description="each teaches both networks")
    global_batch_size: int = Field(16, gt=0, description="utterances of a step")
    blocks: int = Field(6, gt=0, description="of 15 tokens, that the flow sees of an utterance: 0.36 s each")
    frames: int = Field(48, gt=4, description="of 11.6 ms, that the generator sees of an utterance")
    learning_rate: float = Field(
        1e-3, gt=0, description="at its highest, after the warm-up; then half a cosine"
    )
    warmup: float = Field(0.02, ge=0, lt=1, description="share of the steps with a rising rate")
    weight_decay: float = Field(0.01, ge=0, description="of matrices; vectors have none")
    max_grad_norm: float = Field(1, gt=0, description="largest norm of a network's gradient")
    prior: float = Field(
        1, ge=0, description="weight of how far the mel is from what the encoder alone makes of the tokens"
    )
    adversarial_from: int | None = Field(
        None, ge=0, description="step from which discriminators judge the generator (null: never)"
    )
    discriminator_width: int = Field(16, gt=0, description="channels of their first layers")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="that the networks compute in")
    seed: int = Field(0, description="of the first weights, the order, the stretches and the noise")
    checkpoint_every: int = Field(500, gt=0, description="steps between checkpoints; the last step has one")
    sample_every: int = Field(2000, gt=0, description="steps between spoken samples; the last step has them")
    samples: int = Field(3, ge=0, description="utterances that are spoken, the first of the validation data")
