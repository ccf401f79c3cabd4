# The few commands of this repository. Everything is installed into .venv from the hash-locked requirements.lock.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
UV := .boot/bin/uv
# What the lock names is what is installed, from no index or link that this machine adds; certificates are the system's.
UV_ENV := env -u UV_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS UV_SYSTEM_CERTS=1 VIRTUAL_ENV=.venv

.PHONY: help install demo test unit chaos mutants bench check fmt lock clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  \1\t/' | expand -t 12

install: .venv/.installed ## make .venv as requirements.lock says

$(UV):
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-warn-script-location --target .boot uv==0.13.8

.venv/.installed: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV_ENV) $(UV) pip sync --quiet --require-hashes requirements.lock
	$(UV_ENV) $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## a sample batch over simulated providers, from prompts to pictures in demo-out/
	$(BIN)/genqueue demo

test: install ## every test; starts the real servers it needs
	$(BIN)/python -m pytest

unit: install ## only the tests that need nothing running
	$(BIN)/python -m pytest tests/unit

JOBS ?= 500
CRASHES ?= 30
chaos: install ## workers, Redis, PostgreSQL, S3 and network broken under load; JOBS, CRASHES, SEED
	$(BIN)/python -m tests.chaos --jobs $(JOBS) --crashes $(CRASHES) $(if $(SEED),--seed $(SEED))

mutants: install ## take out one safeguard at a time; a test must notice each (some minutes)
	$(BIN)/python -m tests.mutation

bench: install ## measure enqueueing, waiting and checking, with ratios (some minutes)
	$(BIN)/python -m ops.bench.enqueue
	$(BIN)/python -m ops.bench.imagecheck
	$(BIN)/python -m ops.bench.pending

check: install ## lint, formatting, types, imports, lock
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m ops.checks

fmt: install ## format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: | $(UV) ## resolve again and write both locks (no host is in them)
	$(UV_ENV) $(UV) lock --quiet --upgrade
	$(UV_ENV) $(UV) export --quiet --no-emit-project --no-header --no-annotate --all-extras --output-file requirements.lock
	$(UV_ENV) $(UV) export --quiet --no-emit-project --no-header --no-annotate --output-file requirements-prod.lock

clean: ## remove what the commands above made, but no data of yours
	rm -rf .venv .boot demo-out .genqueue/demo .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
