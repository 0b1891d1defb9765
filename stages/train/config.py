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
    """How much a target of each kind counts; only their ratios matter."""

    text: float = Field(1, ge=0)
    linguistic: float = Field(1, ge=0)
    semantic: float = Field(1, ge=0)

    @model_validator(mode="after")
    def _some_weight(self) -> "ModalityWeights":
        if not (self.text or self.linguistic or self.semantic):
            raise ValueError("all weights are 0: nothing is left to learn")
        return self


class DPOConfig(Config):
    beta: float = Field(0.1, gt=0, description="how dearly a step away from the reference is paid")
    mask_audio: bool = Field(True, description="leave audio tokens out of the loss; false for the ablation")
    anchor: float = Field(
        0, ge=0, description="weight of the chosen answers' own cross entropy, which keeps them likely"
    )
    length_normalised: bool = Field(False, description="compare means per token in place of sums")


class TrainConfig(Config):
    objective: Literal["sft", "dpo"] = Field("sft", description="`dpo` learns from preference pairs")
    families: tuple[str, ...] | None = Field(None, description="only samples of these (null: of all)")
    sequence_length: int = Field(2048, gt=1, description="tokens of a packed sequence")
    global_batch_size: int = Field(8, gt=0, description="packed sequences of a step, over all processes")
    micro_batch: int = Field(
        1,
        gt=0,
        description="sequences that a process computes at once; it must divide its share of "
        "`global_batch_size`",
    )
    tensor_parallel: int = Field(
        1, gt=0, description="processes that share each layer; the others share sequences"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="of the computation; weights, moments and sums of gradients are float32"
    )
    activation_checkpointing: bool = Field(
        False, description="compute activations of layers twice in place of keeping them: less memory"
    )
    steps: int | None = Field(None, gt=0, description="steps (null: as many as `epochs` take)")
    epochs: float = Field(1, gt=0, description="times that every sequence is seen")
    learning_rate: float = Field(2e-5, gt=0, description="at its highest, after the warm-up")
    compile: bool = Field(False, description="fuse the operations of a layer: faster on GPUs")
    embedding_lr_multiplier: float = Field(
        1, gt=0, description="times the learning rate, of embeddings and head: 5 in pre-training stage 1"
    )
    final_learning_rate: float = Field(2e-6, ge=0, description="where the cosine ends")
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps with a rising rate")
    weight_decay: float = Field(0.1, ge=0, description="of matrices; vectors have none")
    betas: tuple[float, float] = Field((0.9, 0.95), description="of AdamW")
    max_grad_norm: float = Field(1, gt=0, description="largest norm of the gradient")
    modality_weights: ModalityWeights = ModalityWeights()
    preference: DPOConfig = DPOConfig()
    seed: int = Field(0, description="of the packing and the order of sequences")
    checkpoint_every: int = Field(500, gt=0, description="steps between checkpoints; the last step has one")

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> "TrainConfig":
        if self.global_batch_size % self.micro_batch:
            raise ValueError(
                f"micro_batch {self.micro_batch} does not divide global_batch_size {self.global_batch_size}"
            )
        return self
