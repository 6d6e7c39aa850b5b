# Every command makes the environment in .venv first, if it is not there. The stamp is written last, so an installation
# that was killed is begun anew; it holds the folder's name, so a copied or moved .venv is not taken for a good one.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

ifneq ($(shell ($(BIN)/python -c '' && test "$$(cat $(STAMP))" = "$$(pwd -P)" && echo good) 2>/dev/null),good)
$(shell rm -f $(STAMP))
endif

.DEFAULT_GOAL := help
.PHONY: help env test lint types unit reproduce chapters site pdf course benchmark clean
PORT ?= 8000

help:  ## show the commands
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	@test -f $@ || $(PYTHON) -m venv --clear $(VENV)
	@rm -f $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	@pwd -P > $@

env: $(STAMP)  ## make the environment in .venv (does nothing if it is there)

reproduce: $(STAMP)  ## train S-VAE and N-VAE on embedded data; print Figure 1 and Table 1 (about 5 minutes)
	$(BIN)/hvae reproduce figure1 --preset quick
	$(BIN)/hvae reproduce table1 --data digits --preset quick --dims 2 5

test: lint types unit  ## lint, types and all tests

lint: $(STAMP)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## mypy
	$(BIN)/mypy

# Two processes with one thread each: small tensors gain nothing from a second thread.
unit: $(STAMP)  ## pytest
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

chapters: $(STAMP)  ## execute the chapters whose source has changed (all of them: make chapters ALL=--all)
	$(BIN)/python tools/notebooks.py $(ALL)

# Not `mkdocs build --quiet`: with it, a strict build passes over broken links.
site: chapters  ## build the site in site/: notebooks that have changed, then the pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The site is built again: then it offers the file.
pdf: site  ## the whole course as one PDF, build/hvae_tutorial.pdf (needs chromium)
	$(BIN)/python tools/book.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

course: site  ## the same, then serve it on localhost (another port: make course PORT=8080; end with Ctrl-C)
	@echo "The course: http://localhost:$(PORT)/  (or open site/index.html)"
	@$(BIN)/python -m http.server --bind localhost --directory site $(PORT)

benchmark: $(STAMP)  ## accuracy and speed against floors and peers
	$(BIN)/python benchmarks/run_all.py

clean:  ## remove the environment and everything built; runs/ stays
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache .mypy_cache .hypothesis
