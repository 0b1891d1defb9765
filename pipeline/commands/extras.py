"""Optional dependencies: which extra of the distribution a command needs, checked before it starts."""

from importlib.util import find_spec

from schemas.errors import SetupError

EXTRAS = {
    "train": ("tensorboard", "transformers"),
    "serve": ("fastapi", "prometheus_client", "uvicorn"),
    "browse": ("duckdb", "fastapi", "uvicorn"),
    "kubernetes": ("kubernetes",),
}
"""Extra -> the modules that only it installs (`[project.optional-dependencies]` of pyproject.toml)."""


def require_extra(extra: str) -> None:
    """Raises SetupError that names the extra where one of its modules is not installed."""
    missing = [module for module in EXTRAS[extra] if find_spec(module) is None]
    if missing:
        raise SetupError(_message(extra, ", ".join(missing)))


def missing_extra(error: ModuleNotFoundError) -> SetupError | None:
    """The message for an import that failed because an extra is not installed; None for any other module."""
    module = (error.name or "").partition(".")[0]
    for extra, modules in EXTRAS.items():
        if module in modules:
            return SetupError(_message(extra, module))
    return None


def _message(extra: str, modules: str) -> str:
    return f"{modules} is not installed: install the extra `{extra}` with: pip install 'aqaa-data[{extra}]'"
