# The same verbs by hand and in CI. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
INSTALLED := $(VENV)/.installed
ARGS ?=
TS := clients/typescript
BACKEND := $(TS)/examples/backend
TS_TESTS := $(TS)/build/test/behaviour.test.js
# tests/conftest.py says how many tests at a time; ARGS="-n 0 ..." runs them one after the other.
SIDE_BY_SIDE := -n auto --dist worksteal
WITH_NODE = PATH="$$(scripts/node.sh $(VENV)):$$PATH"
# Tests start services and workers by the thousand: each would compile its modules anew without.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help install demo serve backend test test-ts rigs test-rigs test-endurance check lint lint-ts fmt gen gen-check breaking diagram behaviour bench bench-history bench-group bench-live bench-mjpeg bench-gphoto2 bench-picamera2 bench-v4l2 clean clean-rigs

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Set everything up in .venv

$(INSTALLED): pyproject.toml clients/python/pyproject.toml constraints.txt scripts/venv.sh
	@PYTHON="$(PYTHON)" scripts/venv.sh $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --use-pep517 --constraint constraints.txt \
		--editable 'clients/python[scan]' --editable '.[dev]'
	@touch $@

# npm sets the time of this file when it has installed what the lock file says.
$(TS)/node_modules/.package-lock.json: $(TS)/package.json $(TS)/package-lock.json | $(INSTALLED)
	@$(WITH_NODE) npm ci --prefix $(TS) --loglevel=error
	@touch $@

$(TS)/dist/index.js: $(TS)/node_modules/.package-lock.json $(wildcard $(TS)/src/*.ts $(TS)/src/gen/*/*/*.ts)
	@$(WITH_NODE) npm run build --prefix $(TS) --silent

# One of the files that tsc makes stands for all.
$(TS_TESTS): $(TS)/node_modules/.package-lock.json $(shell find $(TS)/src $(TS)/test -name '*.ts')
	@$(WITH_NODE) npm run pretest --prefix $(TS) --silent
	@touch $@

$(BACKEND)/node_modules/.package-lock.json: $(BACKEND)/package.json $(BACKEND)/package-lock.json $(TS)/dist/index.js
	@$(WITH_NODE) npm ci --prefix $(BACKEND) --loglevel=error
	@touch $@

$(BACKEND)/dist/src/main.js: $(BACKEND)/node_modules/.package-lock.json $(wildcard $(BACKEND)/src/*.ts $(BACKEND)/page/*.ts)
	@$(WITH_NODE) npm run build --prefix $(BACKEND) --silent

demo: install ## See it work: a still, two at once, a hang and its recovery
	@$(PY) examples/demo.py

serve: install ## Run the service on 127.0.0.1:50051 (ARGS="--config FILE ...")
	@$(BIN)/camsvc serve $(ARGS)

backend: $(BACKEND)/dist/src/main.js ## Run the service and a web page for it, on 127.0.0.1:8080 (ARGS as serve)
	@$(WITH_NODE) scripts/backend.sh $(BIN)/camsvc $(BACKEND) $(ARGS)

test: $(TS_TESTS) $(BACKEND)/dist/src/main.js ## Run all tests but the rigs' (ARGS="-k name ...": some)
	@$(WITH_NODE) $(PY) -m pytest $(SIDE_BY_SIDE) -m "not rig" $(ARGS)

test-ts: install $(TS)/node_modules/.package-lock.json ## Run the TypeScript client's tests alone
	@$(WITH_NODE) npm test --prefix $(TS) --silent

rigs: install ## Fetch and make what test-rigs needs, once, in ~/.cache/camsvc-rigs
	@$(PY) -m tests.rigs

test-rigs: rigs ## Run the tests on cameras' real libraries, which need no hardware (ARGS="-k name")
	@$(PY) -m pytest -m rig -n 2 --dist loadgroup $(ARGS)

test-endurance: rigs ## Run at full length what `make test` runs a part of (an hour)
	@ENDURANCE=full $(PY) -m pytest --timeout 3000 -s tests/unit/ipc/test_codec.py tests/process/test_{fuzz,handed_over,hostile,hostile_worker,kills,live_memory,log,many_readers,paused,scan,small_disk,soak,surroundings}.py tests/rpc/test_{away,event_stream,network_rates}.py tests/rigs/{gphoto2/test_{stills,faults},picamera2/test_{scan,faults}}.py $(ARGS)

check: lint lint-ts gen-check ## All static checks: lint, types, imports, contract, generated code

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@cd protos && $(CURDIR)/$(BIN)/buf lint && $(CURDIR)/$(BIN)/buf format --diff --exit-code

lint-ts: $(BACKEND)/node_modules/.package-lock.json
	@$(WITH_NODE) npm run check --prefix $(TS) --silent
	@$(WITH_NODE) npm run check --prefix $(BACKEND) --silent

fmt: $(BACKEND)/node_modules/.package-lock.json ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@cd protos && $(CURDIR)/$(BIN)/buf format --write
	@$(WITH_NODE) npm run fmt --prefix $(TS) --silent
	@$(WITH_NODE) npm run fmt --prefix $(BACKEND) --silent

gen: $(TS)/node_modules/.package-lock.json ## Generate the code of the contract, Python and TypeScript
	@$(PY) scripts/gen.py
	@$(WITH_NODE) $(PY) -m scripts.gen_ts

gen-check: $(TS)/node_modules/.package-lock.json ## Fail when the generated code is not what protos/ gives
	@$(PY) scripts/gen.py --check
	@$(WITH_NODE) $(PY) -m scripts.gen_ts --check

breaking: install ## Fail when the contract breaks clients of the main branch
	@$(PY) scripts/buf_breaking.py

diagram: install ## Draw the lifecycle and the rooms into ARCHITECTURE.md
	@$(PY) -m scripts.diagram

behaviour: install ## Write the table of the clients' behaviour into docs/clients.md
	@$(PY) -m scripts.behaviour

bench: install ## Measure the overhead of a capture
	@$(PY) -m bench.capture

bench-history: install ## Measure pages of the history among 100,000 captures
	@$(PY) -m bench.history

bench-group: install ## Measure how far apart a group's pictures are taken
	@$(PY) -m bench.group

bench-live: install ## Measure live view, against its peers (ARGS="--only NAME --seconds 2")
	@$(PY) -m bench.live $(ARGS)

bench-mjpeg: install ## Measure MJPEG over HTTP passed through, against decoding it (ARGS="--frames 300")
	@$(PY) -m bench.mjpeg $(ARGS)

bench-gphoto2: install ## Measure the service against python-gphoto2 alone, on its rig
	@$(PY) -m bench.gphoto2 $(ARGS)

bench-picamera2: install ## Measure the service against Picamera2 alone, on its rig
	@$(PY) -m bench.picamera2 $(ARGS)

bench-v4l2: install ## Measure the service against OpenCV alone, on its rig (eight minutes)
	@$(PY) -m bench.v4l2 $(ARGS)

clean-rigs: ## Remove the rigs of all checkouts
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/camsvc-rigs"

clean: ## Remove what was installed and made here; the rigs stay
	rm -rf $(VENV) $(TS)/{node_modules,dist,build} $(BACKEND)/{node_modules,dist} .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache demo-output
