# Three commands: `make demo`, `make demo-generalization` and `make test`. Each sets everything up first, in .venv, from constraints.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
DOCS_READY := .venv/.docs-ready
# Compiled at the first import, not at installation: halves the set-up time.
export PYTHONDONTWRITEBYTECODE :=
PIP := PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install --quiet --no-compile
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
WORKERS ?= 2

.PHONY: help demo demo-generalization test lint format slow bench docs clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 21

demo: $(READY)  ## fit INRs to MNIST, train four editors on them and write the report
	$(BIN)/weightspace demo

demo-generalization: $(READY)  ## train CNNs, predict their accuracy from their weights and write the report
	$(BIN)/weightspace demo --recipe demo-generalization

test: lint  ## lint, types, layers, tests, doctests and examples
	$(PYTEST) -n $(WORKERS) -m "not slow"

slow: $(READY)  ## the tests that take minutes
	$(PYTEST) -n $(WORKERS) -m slow

lint: $(READY)  ## formatting, style, types and the order of the layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY)  ## repair formatting and what ruff can repair
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)  ## speed and memory, as ratios measured in one run
	$(BIN)/python -m benchmarks

docs: $(DOCS_READY)  ## the documentation, in docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

clean:  ## everything that can be made again, the environment included
	rm -rf .venv build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[dev]'
	touch $@

$(DOCS_READY): $(READY)
	$(PIP) --editable '.[docs]'
	touch $@
