# make demo: a dataset version from the recordings in tests/recordings. make test: the tests.
# Both make the pinned environment in .venv first; nothing outside Python's package registry is needed.
# Byte code is compiled once, because every worker of a build imports the same packages again.

PYTHON ?= python3.11
BIN := .venv/bin

export HF_HUB_OFFLINE = 1
export PYANNOTE_METRICS_ENABLED = 0

.PHONY: demo test test-slow lint types venv clean

venv: .venv/made

.venv/made: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed; name it with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: venv
	$(BIN)/aqaa-data build pipeline/recipes/demo.yaml

test: venv
	$(BIN)/pytest -m 'not slow and not gpu'

test-slow: venv
	$(BIN)/pytest -m 'slow and not gpu'

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	$(BIN)/mypy

clean:
	rm -rf .venv build dist *.egg-info
