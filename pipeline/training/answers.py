"""`evaluate` of a training recipe: the answers of a model that is being trained, in memory."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.evaluation.answers.answering import answer_benchmark, prepare_questions
from pipeline.evaluation.answers.benchmark import Benchmark, open_benchmark
from pipeline.evaluation.answers.checkpoint_model import CheckpointModel
from pipeline.evaluation.answers.ears import SILENCE, Ears, Heard
from pipeline.evaluation.answers.exchange import AnswerSampling, SpokenAnswer
from pipeline.evaluation.answers.kept import EvaluationFolder
from pipeline.evaluation.answers.measures import grammar_of
from pipeline.evaluation.answers.summary import OBEYED, RULES, RowOutcome, summed
from pipeline.evaluation.answers.voices import PackagedVoices
from pipeline.inference.answer_vocoder import AnswerVocoder, open_answer_vocoder
from pipeline.inference.answerer import answerer_of
from pipeline.training.recipe import ValidationConfig
from pipeline.versions.provenance import MADE_BY
from schemas.errors import SetupError
from schemas.recording import Codes

if TYPE_CHECKING:
    from stages.train.model import Backbone
    from stages.train.validation import Measure

ANSWERING = ("sft1", "sft2", "dpo")
"""The stages that learn to answer."""
SHOWN = (RULES, OBEYED, "word_errors", "right_language", "dnsmos")
"""Scores and measures that become curves, where there are any."""


@dataclass(frozen=True)
class AnswersInTraining:
    """Opens the benchmark and all that answers it but the model; pickles."""

    config: ValidationConfig
    folder: Path
    """Keeps every answer, as that of `evaluate answers` does: the model after each number of steps is one of
    its models."""
    ids: Mapping[str, Any]
    """What a checkpoint records about its ids."""

    def __call__(self) -> "Measure":
        """Raises SetupError for what is missing."""
        config = self.config
        benchmark = open_benchmark(config.benchmark).limited(config.limit)
        sampling = AnswerSampling(config.seed, config.temperature, config.max_tokens)
        folder = EvaluationFolder(self.folder, remedy="Set `evaluate` as it was, or remove that folder")
        folder.begin(
            {
                "benchmark": benchmark.name,
                "benchmark_version": benchmark.version,
                "limit": config.limit,
                "sampling": asdict(sampling),
                "speak": config.speak,
            }
        )
        questions, not_asked = prepare_questions(benchmark, folder, PackagedVoices())
        if not questions:
            raise SetupError(f"no row of {config.benchmark} can be asked: {next(iter(not_asked.values()))}")
        answerer = answerer_of(self.ids, "the dataset version")
        vocoder: AnswerVocoder | None = None
        hear: Callable[[SpokenAnswer, int], Heard] = _unheard
        if config.speak:
            vocoder = open_answer_vocoder(Path(config.vocoder) if config.vocoder else None)
            vocoder.check(self.ids[MADE_BY]["models"])
            hear = Ears().hear
        else:
            benchmark = _of_words(benchmark)
        codes: dict[Path, Codes] = {}

        def measure(model: "Backbone", step: int) -> dict[str, Any]:
            name = f"step-{step:06}"
            folder.begin_model(name, about := {"kind": "training", "step": step})
            asked = CheckpointModel(name, answerer(model, None), vocoder, about, codes)
            kept = answer_benchmark(benchmark, asked, questions, sampling, folder, hear)
            outcomes = [RowOutcome.of(name, row, kept[row.id]) for row in benchmark.rows if row.id in kept]
            return curves(outcomes)

        return measure


def _of_words(benchmark: Benchmark) -> Benchmark:
    """Without the checks of the voice, which no answer passes that isn't spoken."""
    of_voice = ("voice", "voice_turns", "emotion")
    rows = [
        row.model_copy(update={"checks": tuple(check for check in row.checks if check.kind not in of_voice)})
        for row in benchmark.rows
    ]
    return replace(benchmark, rows=tuple(rows))


def _unheard(answer: SpokenAnswer, parts: int) -> Heard:
    return SILENCE


def curves(outcomes: list[RowOutcome]) -> dict[str, Any]:
    """What becomes a curve of an evaluation in training: means over rows, and of the grammar over steps."""
    values = {name: found.value for name in SHOWN if (found := summed(outcomes, name))}
    steps, broken = grammar_of([turn for each in outcomes for turn in each.kept.turns])
    if steps:
        values["grammar"] = 1 - sum(broken.values()) / steps
    shares = {rule: count / steps for rule, count in sorted(broken.items())}
    rows = len(outcomes)
    return {
        **values,
        **({"broken": shares} if shares else {}),
        "silent": sum(each.kept.silent for each in outcomes) / rows,
        "failed": sum(each.kept.failed is not None for each in outcomes) / rows,
    }
