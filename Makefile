# The few commands of this repository. Everything is installed into .venv from the hash-locked requirements.lock.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
UV := .boot/bin/uv
# What the lock names is what is installed, from no index or link that this machine adds; certificates are the system's.
UV_ENV := env -u UV_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS UV_SYSTEM_CERTS=1 VIRTUAL_ENV=.venv
# Where it is set, each of the hundreds of processes that tests start compiles every module again, for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test unit contract integration e2e chaos-short tests-in-process tests-of-processes
.PHONY: alerts browser test-postgres lowest compose-test poolers rabbitmq api-contract doors-long chaos mutants bench check prod-check fmt
.PHONY: client lock clean

help: ## list these commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /  \1\t/' | expand -t 17

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

# Tests wait for servers as often as they compute: two processes more than cores keep the cores busy.
PROCESSES ?= $(shell n=$$(nproc); echo $$((n < 6 ? n + 2 : 8)))
PYTEST := $(BIN)/python -m pytest -n $(PROCESSES)
# A file of these starts worker processes of its own, on servers that its test process keeps for all its files. They begin in
# the order of tests/conftest.py, the longest first, and not by their numbers of tests.
BY_FILE := --dist loadfile --no-loadscope-reorder

# pytest ends with 1 if tests failed, and with another number if it could not run them.
AGAIN := { test $$? -eq 1 && $(BIN)/python -m tests.again; }

test: install ## every test, PROCESSES at a time; starts the real servers it needs
	@$(MAKE) --no-print-directory --keep-going tests-in-process tests-of-processes

.NOTPARALLEL:
tests-in-process:
	$(PYTEST) --dist worksteal tests/unit tests/mutation tests/contract tests/integration || $(AGAIN)

tests-of-processes:
	$(PYTEST) $(BY_FILE) tests/e2e tests/chaos || $(AGAIN)

unit: install ## only the tests that need nothing running
	$(PYTEST) --dist worksteal tests/unit tests/mutation

contract: install ## the simulator against the providers' documents, and our wires against the simulator
	$(PYTEST) --dist worksteal tests/contract

integration: install ## against real PostgreSQL, Redis and S3, in the tests' own processes
	$(PYTEST) --dist worksteal tests/integration

e2e: install ## real worker processes, from commands to pictures
	$(PYTEST) $(BY_FILE) tests/e2e

chaos-short: install ## a short seeded chaos run, and a worker's death in every gap
	$(PYTEST) $(BY_FILE) tests/chaos

POSTGRES ?= /usr/lib/postgresql/15/bin
test-postgres: install ## the integration tests with another PostgreSQL; POSTGRES=the directory of its programs
	$(BIN)/python -m pytest tests/integration --ignore-glob 'tests/integration/test_stack_*' --postgres $(POSTGRES)

lowest: install ## the tests with the lowest version of every dependency that pyproject.toml allows, in .venv-lowest
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-lowest
	$(UV_ENV) VIRTUAL_ENV=.venv-lowest $(UV) pip install --quiet --resolution lowest-direct --all-extras -r pyproject.toml
	$(UV_ENV) VIRTUAL_ENV=.venv-lowest $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	.venv-lowest/bin/python -m pytest -n $(PROCESSES) --dist worksteal tests/unit tests/contract tests/integration --ignore tests/unit/test_image.py

compose-test: install ## images, Compose files and an upgrade on a real Docker engine; BUILD=flags of docker build
	$(BIN)/python -m tests.compose --build "$(BUILD)" --output docs/compose-test.md

poolers: install ## behind PgBouncer; needs the package: apt-get install pgbouncer
	$(BIN)/python -m pytest tests/poolers

browser: install ## the dashboard in a real browser; needs the package: apt-get install chromium
	$(BIN)/python -m pytest tests/browser

client: install ## the wheel of genqueue-client, for services that use the HTTP API, in dist/
	cd client && ../$(BIN)/python -m hatchling build -t wheel -d ../dist

rabbitmq: install ## the Celery door on RabbitMQ; needs the package: apt-get install rabbitmq-server
	$(BIN)/python -m pytest tests/rabbitmq

api-contract: install ## the API against its own contract with EXAMPLES (50) for each operation; `make contract` sends ten
	API_EXAMPLES=$(or $(EXAMPLES),50) $(BIN)/python -m pytest tests/contract/test_api_contract.py

DOORS ?= 10000
doors-long: install ## DOORS requests, each sent twice while the API is killed, and as many webhooks to a bad receiver
	DOORS_JOBS=$(DOORS) $(BIN)/python -m pytest tests/e2e/test_api_killed.py
	DOORS_EVENTS=$(DOORS) $(BIN)/python -m pytest tests/integration/test_webhooks.py -k loses_no_event

JOBS ?= 500
CRASHES ?= 30
chaos: install ## workers, Redis, PostgreSQL, S3 and network broken under load; JOBS, CRASHES, SEED
	$(BIN)/python -m tests.chaos --jobs $(JOBS) --crashes $(CRASHES) $(if $(SEED),--seed $(SEED))

mutants: install ## take out one safeguard at a time; a test must notice each (some minutes)
	$(BIN)/python -m tests.mutation

bench: install ## measure enqueueing, waiting, checking, and a job beside its rivals, with ratios (some minutes)
	$(BIN)/python -m ops.bench.enqueue
	$(BIN)/python -m ops.bench.imagecheck
	$(BIN)/python -m ops.bench.pending
	$(BIN)/python -m ops.bench.job.idle
	$(BIN)/python -m ops.bench.job

PROMTOOL ?= promtool
alerts: ## check the alert rules and run their tests; needs promtool (Debian: apt-get install prometheus)
	cd ops/monitoring && $(PROMTOOL) check config prometheus.yml && $(PROMTOOL) test rules rules_test.yml

check: install ## lint, formatting, types, imports, lock
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m ops.dev.checks

prod-check: install ## the production lock alone, in .venv-prod: every command's help, and a batch through a worker
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-prod
	$(UV_ENV) VIRTUAL_ENV=.venv-prod $(UV) pip sync --quiet --require-hashes requirements-prod.lock
	$(BIN)/python -m ops.dev.prodcheck .venv-prod/bin/python

fmt: install ## format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: | $(UV) ## resolve again and write the three locks (no host is in them)
	$(UV_ENV) $(UV) lock --quiet --upgrade
	$(UV_ENV) $(UV) export --quiet --no-emit-project --no-header --no-annotate --all-extras --output-file requirements.lock
	$(UV_ENV) $(UV) export --quiet --no-emit-project --no-header --no-annotate --output-file requirements-prod.lock
	$(UV_ENV) $(UV) export --quiet --no-emit-project --no-header --no-annotate --extra embedded --output-file requirements-trial.lock

clean: ## remove what the commands above made, but no data of yours
	rm -rf .venv .venv-prod .venv-lowest .boot demo-out .genqueue/demo .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
