# Run `make` to list the targets. All of them work in .venv, which is made on first use from the versions and
# hashes in constraints.txt. Models are bundled in packages: only a Python package index is needed.

# The interpreter for .venv, such as python3.12 or a path. Default: the first of Python 3.11 to 3.13 that runs.
PYTHON ?=

BIN := .venv/bin
UV := 0.13.9
PICK := for p in python3.11 python3.12 python3.13 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done
VERSION := import sys; print("%d.%d" % sys.version_info[:2])
# With PYTHON given, an existing .venv of another version is made again.
STAMP := .venv/made$(if $(PYTHON),-$(shell $(PYTHON) -c '$(VERSION)' 2>/dev/null))
COMPILE := pip compile pyproject.toml --all-extras --universal --generate-hashes --no-annotate --no-header

export HF_HUB_OFFLINE = 1
export PYANNOTE_METRICS_ENABLED = 0

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow gpu-check coverage lint types format docs lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Another interpreter: make PYTHON=python3.12 test'

venv: $(STAMP)  ## Install the pinned environment in .venv (PYTHON= any of 3.11, 3.12 and 3.13)

$(STAMP): pyproject.toml constraints.txt
	@python="$(PYTHON)"; \
	[ -n "$$python" ] || [ ! -x $(BIN)/python ] || python=$(BIN)/python; \
	[ -n "$$python" ] || python=$$($(PICK)); \
	version=$$("$${python:-none}" -c '$(VERSION)' 2>/dev/null) || version=none; \
	case $$version in \
	3.11|3.12|3.13) ;; \
	none) echo "make: no Python found$${python:+ at $$python}: install Python 3.11, 3.12 or 3.13, or name one:" \
	    "make PYTHON=/path/to/python3.12" >&2; exit 1 ;; \
	*) echo "make: $$python is Python $$version, and 3.11, 3.12 or 3.13 is needed: name one with" \
	    "make PYTHON=/path/to/python3.12" >&2; exit 1 ;; \
	esac; \
	[ "$$version" = "$$($(BIN)/python -c '$(VERSION)' 2>/dev/null)" ] || "$$python" -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet uv==$(UV)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@rm -f .venv/made*
	@touch .venv/made $@

demo: venv  ## Build a dataset version from the bundled recordings (two to five minutes on two cores)
	$(BIN)/aqaa-data build pipeline/recipes/demo.yaml

test: venv  ## Run the tests, in two processes of a thread each; the slowest are listed
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not slow and not gpu' -n 2 --durations 30

test-slow: venv  ## Run the tests that take minutes each
	$(BIN)/pytest -m 'slow and not gpu'

gpu-check: venv  ## Measure in eight minutes what a GPU computes and how fast (without one: ARGS="--device cpu --tiny")
	$(BIN)/python -m tests.gpu.check $(ARGS)

coverage: venv  ## Run the tests and show which lines they miss (report in build/coverage)
	$(BIN)/pytest -m 'not slow and not gpu' --cov=schemas --cov=stages --cov=pipeline \
	    --cov-report=term:skip-covered --cov-report=html:build/coverage

lint: venv  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv  ## Check types
	$(BIN)/mypy

format: venv  ## Fix style and formatting in place
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: venv  ## Build the documentation in build/docs; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lock: $(BIN)/uv  ## Update constraints.txt after a change of pyproject.toml; UPGRADE=1 takes newer versions
	$(BIN)/uv $(COMPILE) $(if $(UPGRADE),--upgrade) --quiet --output-file constraints.txt

$(BIN)/uv:
	@$(MAKE) venv

clean:  ## Remove .venv and everything built (datasets and runs are kept)
	rm -rf .venv build dist site *.egg-info
