"""Settings of a training run."""

from typing import Literal

from pydantic import Field, model_validator

from stages.precision import Precision
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


class LoRAConfig(Config):
    """Low-rank adapters beside frozen weights (Hu et al., 2021); they are merged into the finished model."""

    rank: int = Field(16, gt=0, description="inner width of an adapter")
    alpha: float = Field(32, gt=0, description="adapters are multiplied by alpha / rank")
    targets: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="projections of each layer that get an adapter, such as [q_proj, v_proj] (null: all)",
    )
    added_tokens: bool | None = Field(
        None,
        description="train the rows of markers and codes in embeddings and head too (null: only if they were "
        "added to a foreign language model)",
    )

    def decided(self, is_foreign: bool) -> "LoRAConfig":
        """With `added_tokens` as it is for a kind of model, if the settings leave it open."""
        return self if self.added_tokens is not None else self.model_copy(update={"added_tokens": is_foreign})


class ValidationLossConfig(Config):
    """The loss on documents of the version's validation side; it changes nothing of what is trained."""

    every: int = Field(200, gt=0, description="steps between measurements; the last step always has one")
    batches: int | None = Field(
        20,
        gt=0,
        description="at most this many batches of `global_batch_size` sequences, the same ones every time "
        "(null: the whole validation side)",
    )


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
    precision: Precision = Field(
        "auto",
        description="of the computation (auto: bfloat16 where the device computes in it, float32 elsewhere); "
        "weights, optimizer moments and gradient sums are float32",
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
    heard_noise: float = Field(
        0,
        ge=0,
        lt=1,
        description="share of the codes of questions that are replaced by random ones, anew in each epoch: "
        "against learning few hours of speech by heart (not in dpo)",
    )
    max_grad_norm: float = Field(1, gt=0, description="gradients with a larger norm are clipped to it")
    modality_weights: ModalityWeights = Field(
        ModalityWeights(), description="loss weights of text, linguistic and semantic targets"
    )
    lora: LoRAConfig | None = Field(
        None,
        description="train adapters beside frozen weights, which keep their stored precision; `{}` has the "
        "defaults (null: train all weights)",
    )
    validation: ValidationLossConfig | None = Field(
        None,
        description="measure the loss on the version's validation side every so many steps; `{}` has the "
        "defaults (null: don't)",
    )
    preference: DPOConfig = Field(DPOConfig(), description="settings of the `dpo` objective")
    seed: int = Field(0, description="seed of the packing and the order of sequences")
    checkpoint_every: int = Field(
        500, gt=0, description="steps between checkpoints; the last step always writes one"
    )

    @model_validator(mode="after")
    def _whole_rows(self) -> "TrainConfig":
        if self.lora and self.lora.added_tokens and self.tensor_parallel > 1:
            raise ValueError(
                "lora.added_tokens can't be trained with tensor_parallel, which splits embeddings and head: "
                "set one of them to false or 1"
            )
        return self

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> "TrainConfig":
        if self.global_batch_size % self.micro_batch:
            raise ValueError(
                f"micro_batch {self.micro_batch} does not divide global_batch_size {self.global_batch_size}"
            )
        return self
