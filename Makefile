# Snowbus. `make demo` and `make test` need Python 3.11 or newer, make and git; the rest is set up here.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE := # empty, as commands that compile themselves at each start start slowly

.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## the virtual environment, with everything locked

$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Snowbus needs Python 3.11 or newer; name one with make PYTHON=…")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## sample traffic through the whole path, on the embedded log
	@$(BIN)/snowbus up --demo

test: $(READY) types-tree ## the tests; what the machine cannot run is named at the end
	@$(BIN)/python -m pytest -m "not faults" --numprocesses 4 --dist loadfile --no-loadscope-reorder

faults: $(READY) ## long fault runs: kills, outages, pauses
	@$(BIN)/python -m pytest -m faults --timeout 1200 -s

soak: $(READY) ## all roles for SOAK_MINUTES=8 under mixed load and random faults
	@$(BIN)/python -m pytest tests/soak --timeout 7200 -s

lint: $(READY) types-tree ## style, types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -n 2

audit: $(READY) ## known vulnerabilities in what is locked; requirements/audit.toml has those that are ignored
	@$(BIN)/python requirements/audit.py

format: $(READY) ## rewrite the code in the house's style
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

docs: $(READY) types-tree ## rewrite from the code what is written from it
	@$(BIN)/python -m snowbus.cli.settings_docs > build/settings.md
	@mv build/settings.md docs/settings.md
	@$(BIN)/python -m snowbus.cli.metrics_docs > build/metrics.md
	@mv build/metrics.md docs/metrics.md
	@$(BIN)/python -m snowbus.cli.http_docs > build/http.md
	@mv build/http.md docs/http.md
	@$(BIN)/python -m snowbus.cli.websocket_docs > build/websocket-messages.md
	@mv build/websocket-messages.md docs/websocket-messages.md
	@$(BIN)/python compose/grafana/dashboard.py

site: $(READY) ## the documents as a site, in build/site
	@$(BIN)/pip install --quiet --require-hashes --requirement requirements/site.lock
	@$(BIN)/sphinx-build --quiet --nitpicky --fail-on-warning --keep-going --fresh-env docs build/site
	@echo "build/site/index.html"

bench: $(READY) ## figures beside their floors; ONLY=fanout for those alone
	@$(BIN)/python -m pytest tests/benchmarks -s --timeout 1800 $(if $(ONLY),-k '$(ONLY)')

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-package pip

lock: ## renew requirements.lock, and those in requirements/ from it (needs uv)
	@$(LOCK) --extra tracker --extra otel --group dev --output-file requirements.lock pyproject.toml requirements/build.in
	@$(LOCK) --constraint requirements.lock --extra otel --output-file requirements/image.lock pyproject.toml requirements/build.in
	@$(LOCK) --constraint requirements.lock --group site --output-file requirements/site.lock

# Type checkers cannot follow the package-dir mapping of pyproject.toml; they read this folder of links.
types-tree:
	@mkdir -p build/types/snowbus
	@for package in bus producers consumers cli schemas; do ln -sfn ../../../$$package build/types/snowbus/$$package; done

clean: ## remove what was made here
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

.PHONY: help setup demo test faults soak lint audit format docs site bench lock types-tree clean
