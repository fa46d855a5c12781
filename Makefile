# Every target sets up what it needs; all it asks of the machine is Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench lock seeds soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with the locked dependencies

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kurir needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## the main job, on screen: a bad network, an outage, a crash; nothing lost
	$(BIN)/kurir demo

test: $(STAMP) lint ## lint, types, import rules and all tests
	$(BIN)/python -m pytest -n 4 --dist worksteal

lint: $(STAMP) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff rewrite the layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## measure; a table on screen and JSON in bench/results
	$(BIN)/python -m bench

seeds: $(STAMP) ## the deterministic simulation over 10,000 seeds
	$(BIN)/python -m tests.simulation --seeds 10000

soak: $(STAMP) ## the tests against real processes as long and as large as the promises say; Hypothesis looks for new examples
	KURIR_SOAK=1 $(BIN)/python -m pytest tests/workers tests/crash tests/property

lock: ## resolve the dependencies anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--extra dev pyproject.toml requirements-build.in -o requirements.lock

clean: ## remove what the other targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info bench/results tests/deploy/.prometheus tests/clients/node/node_modules
