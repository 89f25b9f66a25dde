# Every chore is one target; `make` alone explains them. The first one that needs the environment builds it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# pip rather than uv: it knows the machine's index, proxy and certificates.
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := $(VENV)/.ready
# Test files that run at the same time: many of them wait for servers and workers.
AT_ONCE ?= 3
# Real packages cannot all live in one environment; tests/providers says which are in which.
PROVIDER_SETS ?= one two oldest
PROVIDER_VERDICTS = $(PROVIDER_SETS:%=.venv-providers-%/verdicts.json)
PROVIDER_PYTHON = .venv-providers-$(firstword $(PROVIDER_SETS))/bin/python
export QISKIT_PARALLEL ?= FALSE

.DEFAULT_GOAL := help
.PHONY: help demo test lint types imports audit bench bench-scale api-hunt chaos chaos-ci test-providers verdicts always worker lock clean

help: ## Explain the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 23

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pubworks needs Python 3.11 or newer; say which: make PYTHON=python3.12 ...")'
	@echo "Installing what pubworks needs into $(VENV): a few minutes, the first time."
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --requirement requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

demo: $(READY) ## Run a parameterised workload on Aer, with no server
	$(BIN)/pubworks demo

test: $(READY) ## Run the tests
	$(BIN)/python -m pytest -q -n $(AT_ONCE) --dist loadfile $(ARGS)

lint: $(READY) ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Check types, strictly
	$(BIN)/mypy

imports: $(READY) ## Check the layers of the architecture
	$(BIN)/lint-imports --no-cache

audit: $(READY) ## Look for known vulnerabilities of the locked packages
	$(BIN)/python -m tests.audit

bench: $(READY) ## Measure pubworks beside its alternatives
	$(BIN)/python -m benchmarks

bench-scale: $(READY) ## Measure how work grows; ARGS=--docs writes docs/scaling
	$(BIN)/python -m benchmarks.scale $(ARGS)

api-hunt: $(READY) ## Call the REST API in ways made up from its description
	API_EXAMPLES=200 $(BIN)/python -m pytest -q --timeout 1800 tests/acceptance/api/test_api_schema.py $(ARGS)

chaos: $(READY) ## Run 5,000 batches under 1,000 faults, and count all runs
	$(BIN)/python -m tests.chaos $(ARGS)

chaos-ci: $(READY) ## Strike at every step, and at random (CHAOS_SEED=N)
	$(BIN)/python -m pytest -q -m "" tests/chaos $(ARGS)

# Kept for the next time, though they are on the way to something else.
.PRECIOUS: .venv-providers-%/.ready .venv-providers-%/verdicts.json
.venv-providers-%/.ready: tests/providers/%.lock pyproject.toml
	$(PYTHON) -m venv .venv-providers-$*
	.venv-providers-$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	.venv-providers-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.venv-providers-%/verdicts.json: .venv-providers-%/.ready always
	.venv-providers-$*/bin/python -m tests.providers $* $@

test-providers: $(PROVIDER_VERDICTS) ## See that real packages answer right; -j2 is faster
	$(if $(filter one,$(PROVIDER_SETS)),.venv-providers-one/bin/python -m pytest -q tests/providers)
	$(PROVIDER_PYTHON) -m tests.providers.table check $(PROVIDER_VERDICTS)

verdicts: $(PROVIDER_VERDICTS) ## Write what they come to into docs/providers.md
	$(PROVIDER_PYTHON) -m tests.providers.table keep $(PROVIDER_VERDICTS)

worker: $(READY) ## Start a worker with the settings of this folder
	$(BIN)/pubworks worker

lock: ## Write lock files of the newest versions (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --upgrade --extra postgres --extra aer --extra qasm3 --extra web -o requirements.lock pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --constraint requirements.lock --all-extras --group dev -o requirements-dev.lock pyproject.toml
	for set in $(PROVIDER_SETS); do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  -o tests/providers/$$set.lock tests/providers/$$set.in tests/providers/build.in pyproject.toml || exit 1; done

clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) .venv-providers-* dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
