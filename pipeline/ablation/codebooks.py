"""Two codebooks against one: whether the codes of each are easier to predict beside those of the other."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.ablation.recipe import CodebooksConfig
from pipeline.evaluation.answers.kept import write_whole
from pipeline.evaluation.perplexity import compare
from pipeline.evaluation.run import coded_utterances
from pipeline.versions.reader import Reference, open_version
from schemas.errors import SetupError
from stages.evaluate.estimate import IntervalEstimate

PAPER = "falls"
"""The paper: next-token perplexity falls for both codebooks when they are trained together."""


@dataclass(frozen=True)
class CodebookRow:
    codebook: str
    alone: IntervalEstimate
    """Nats per token of a model of this codebook only, on held-out recordings."""
    together: IntervalEstimate
    """The same of the model of both, on the codes of this codebook."""


@dataclass(frozen=True)
class CodebooksTable:
    version: str
    steps: int
    seed: int
    note: str
    rows: tuple[CodebookRow, ...]

    @classmethod
    def kept(
        cls, file: Path, config: CodebooksConfig, version: str | None, say: Callable[[str], None]
    ) -> "CodebooksTable":
        """Read from a file, or computed for a version and written there. Raises SetupError if the file has
        other settings, or is of another version than a given one."""
        if not file.exists():
            assert version is not None
            table = cls._computed(config, version, say)
            write_whole(file, (json.dumps(asdict(table), indent=1) + "\n").encode())
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        expected = (version or content["version"], config.steps, config.seed)
        if (content["version"], content["steps"], content["seed"]) != expected:
            raise SetupError(
                f"{file} is of {content['version']}, {content['steps']} steps and seed {content['seed']}: "
                "remove it to compare the codebooks again"
            )
        rows = [
            CodebookRow(row["codebook"], *(IntervalEstimate(**row[name]) for name in ("alone", "together")))
            for row in content["rows"]
        ]
        return cls(content["version"], config.steps, config.seed, config.note.strip(), tuple(rows))

    @classmethod
    def _computed(cls, config: CodebooksConfig, version: str, say: Callable[[str], None]) -> "CodebooksTable":
        say(f"two codebooks against one, on {version}")
        coded = coded_utterances(open_version(Reference.parse(version)), config.seed)
        found = compare(coded, config.steps, config.seed).comparison
        rows = [
            CodebookRow(name, found.alone[name].nats_per_token, found.beside[name].nats_per_token)
            for name in ("linguistic", "semantic")
        ]
        return cls(version, config.steps, config.seed, config.note.strip(), tuple(rows))

    def cells(self) -> list[list[str]]:
        """The header and the rows as text."""
        head = ["codebook", "nats per token alone", "beside the other", "paper"]
        return [head, *([row.codebook, _shown(row.alone), _shown(row.together), PAPER] for row in self.rows)]

    def as_markdown(self) -> str:
        head, *body = self.cells()
        lines = [head, ["---", "---:", "---:", "---"], *body]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"## Two codebooks against one\n\n{table}\n\n{self.note}\n"


def _shown(estimate: IntervalEstimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
