# The same verbs by hand and in CI. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
INSTALLED := $(VENV)/.installed
ARGS ?=

.PHONY: help install demo serve test test-rigs test-endurance check lint fmt gen gen-check breaking diagram bench bench-history bench-group bench-live clean

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Set everything up in .venv

$(INSTALLED): pyproject.toml clients/python/pyproject.toml constraints.txt scripts/venv.sh
	@PYTHON="$(PYTHON)" scripts/venv.sh $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --use-pep517 --constraint constraints.txt \
		--editable clients/python --editable '.[dev]'
	@touch $@

demo: install ## See it work: a still, two at once, a hang and its recovery
	@$(PY) examples/demo.py

serve: install ## Run the service on 127.0.0.1:50051 (ARGS="--config FILE ...")
	@$(BIN)/camsvc serve $(ARGS)

test: install ## Run all tests (ARGS="-k name ...")
	@$(PY) -m pytest $(ARGS)

test-rigs: install ## Run the tests that need a rig: real device drivers (ARGS="-k name ...")
	@$(PY) -m pytest --timeout 400 tests/rigs/v4l2 $(ARGS)

test-endurance: install ## Run the tests of kills, readers, scan and full disk at full length (half an hour)
	@ENDURANCE=full $(PY) -m pytest --timeout 3000 -s tests/process/test_{kills,many_readers,scan,small_disk}.py $(ARGS)

check: lint gen-check ## All static checks: lint, types, imports, contract, generated code

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@cd protos && $(CURDIR)/$(BIN)/buf lint && $(CURDIR)/$(BIN)/buf format --diff --exit-code

fmt: install ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@cd protos && $(CURDIR)/$(BIN)/buf format --write

gen: install ## Generate the Python code of the contract
	@$(PY) scripts/gen.py

gen-check: install ## Fail when the generated code is not what protos/ gives
	@$(PY) scripts/gen.py --check

breaking: install ## Fail when the contract breaks clients of the main branch
	@$(PY) scripts/buf_breaking.py

diagram: install ## Draw the lifecycle's diagram into ARCHITECTURE.md
	@$(PY) scripts/diagram.py

bench: install ## Measure the overhead of a capture
	@$(PY) -m bench.capture

bench-history: install ## Measure pages of the history among 100,000 captures
	@$(PY) -m bench.history

bench-group: install ## Measure how far apart a group's pictures are taken
	@$(PY) -m bench.group

bench-live: install ## Measure live view, beside its peers (ARGS="--only NAME --seconds 2")
	@$(PY) -m bench.live $(ARGS)

clean: ## Remove what was installed and made
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache demo-output
