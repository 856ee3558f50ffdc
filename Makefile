# Targets: demo, test, install, lint, types, unit, docs, figures, format, clean. `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -q

# Tests start hundreds of processes: with bytecode kept, what is compiled for one need not be for the next.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test install lint types unit docs figures format clean
help:  ## Say what each target does
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) -U pip

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(PIP) -e ".[onnx,files]"
	$(BIN)/fovea models get minilm
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -c constraints.txt -e ".[dev]"
	$(BIN)/fovea models get minilm smollm2
	touch $@ $(VENV)/.demo

install: $(VENV)/.dev  ## Create the virtual environment with everything the tests need

demo: $(VENV)/.demo  ## From a folder of documents to cited answers, offline
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev  ## Linter, type checker and all tests, side by side: what CI runs
	$(MAKE) -j 2 lint types unit

lint: $(VENV)/.dev  ## ruff and the import floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev  ## mypy
	$(BIN)/mypy

unit: $(VENV)/.dev  ## pytest, in two processes: a file's tests stay in one, so that what they share is made once
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=20

docs: $(VENV)/.dev  ## The documentation and the Python reference as one site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q

figures: $(VENV)/.dev  ## The benchmarks that the pages quote, where there is no record of this code: DATA=DIR
	$(BIN)/python benchmarks/figures.py $(if $(DATA),--data "$(DATA)")

format: $(VENV)/.dev  ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
