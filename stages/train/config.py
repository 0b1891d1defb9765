"""Settings of a training run."""

from typing import Literal

from pydantic import Field, model_validator

from stages.stage import Config

RENAMED_SETTINGS = {
    "batch": "global_batch_size",
    "tensor": "tensor_parallel",
    "recompute": "activation_checkpointing",
    "embedding_rate": "embedding_lr_multiplier",
    "clip": "max_grad_norm",
}
"""Old name of a training's setting -> its name today. Recipes may use the old names until the next release;
records of runs that have them stay readable."""


class ModalityWeights(Config):
    """Loss weight of the targets of each modality; only their ratios matter."""

    text: float = Field(1, ge=0, description="weight of text targets")
    linguistic: float = Field(1, ge=0, description="weight of linguistic codes")
    semantic: float = Field(1, ge=0, description="weight of semantic codes")

    @model_validator(mode="after")
    def _some_weight(self) -> "ModalityWeights":
        if not (self.text or self.linguistic or self.semantic):
            raise ValueError("all weights are 0: at least one must be positive")
        return self


class DPOConfig(Config):
    beta: float = Field(0.1, gt=0, description="strength of the penalty for moving away from the reference")
    mask_audio: bool = Field(True, description="exclude audio tokens from the loss; false for the ablation")
    anchor: float = Field(
        0, ge=0, description="weight of the chosen answers' cross entropy, which keeps them likely"
    )
    length_normalised: bool = Field(False, description="compare means per token instead of sums")


class TrainConfig(Config):
    objective: Literal["sft", "dpo"] = Field("sft", description="`dpo` trains on preference pairs")
    families: tuple[str, ...] | None = Field(None, description="only samples of these families (null: all)")
    sequence_length: int = Field(2048, gt=1, description="tokens per packed sequence")
    global_batch_size: int = Field(8, gt=0, description="packed sequences per step, over all processes")
    micro_batch: int = Field(
        1,
        gt=0,
        description="sequences that a process computes at once; must divide its share of `global_batch_size`",
    )
    tensor_parallel: int = Field(
        1, gt=0, description="processes that split each layer; the others split the sequences"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="of the computation; weights, optimizer moments and gradient sums are float32"
    )
    activation_checkpointing: bool = Field(
        False,
        description="recompute activations in the backward pass instead of keeping them: less memory",
    )
    steps: int | None = Field(None, gt=0, description="number of steps (null: as many as `epochs` need)")
    epochs: float = Field(1, gt=0, description="passes over all sequences")
    learning_rate: float = Field(2e-5, gt=0, description="peak learning rate, after the warm-up")
    compile: bool = Field(False, description="compile each layer: faster on GPUs")
    embedding_lr_multiplier: float = Field(
        1, gt=0, description="factor on the learning rate of embeddings and head (pre-training stage 1: 5)"
    )
    final_learning_rate: float = Field(2e-6, ge=0, description="at the end of the cosine schedule")
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps with a rising learning rate")
    weight_decay: float = Field(0.1, ge=0, description="of matrices; vectors have no weight decay")
    betas: tuple[float, float] = Field((0.9, 0.95), description="of AdamW")
    max_grad_norm: float = Field(1, gt=0, description="gradients with a larger norm are clipped to it")
    modality_weights: ModalityWeights = Field(
        ModalityWeights(), description="loss weights of text, linguistic and semantic targets"
    )
    preference: DPOConfig = Field(DPOConfig(), description="settings of the `dpo` objective")
    seed: int = Field(0, description="seed of the packing and the order of sequences")
    checkpoint_every: int = Field(
        500, gt=0, description="steps between checkpoints; the last step always writes one"
    )

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> "TrainConfig":
        if self.global_batch_size % self.micro_batch:
            raise ValueError(
                f"micro_batch {self.micro_batch} does not divide global_batch_size {self.global_batch_size}"
            )
        return self
