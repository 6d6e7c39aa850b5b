# The environment is made once: the stamp is newer than the two files that define it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help env test lint types unit reproduce benchmark clean

help:  ## show the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

env: $(STAMP)  ## make the environment in .venv (does nothing if it is there)

reproduce: $(STAMP)  ## train S-VAE and N-VAE on embedded data; print Figure 1 and Table 1 (about 5 minutes)
	$(BIN)/hvae reproduce figure1 --preset quick
	$(BIN)/hvae reproduce table1 --data digits --preset quick --dims 2 5

test: lint types unit  ## lint, types and all tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

unit: $(STAMP)
	$(BIN)/python -m pytest

benchmark: $(STAMP)  ## accuracy and speed against floors and peers
	$(BIN)/python benchmarks/run_all.py

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache .mypy_cache .hypothesis
