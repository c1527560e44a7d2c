# The commands of users and contributors.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install --python $(BIN)/python --no-deps --require-hashes
STAMPS := $(VENV)/.stamps
PORT ?= 8080
EXAMPLE ?= quickstart

.PHONY: env dev up test check lint format types layers unit serve gateway plugins apiserver weights chart e2e clean help

help: ## Print the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env: $(STAMPS)/bytecode ## Make the environment of users: engines for CPUs, weights of the quickstart, pilotfish

$(STAMPS)/bootstrap: requirements/bootstrap.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	mkdir -p $(STAMPS) && touch $@

$(STAMPS)/packages: $(STAMPS)/bootstrap requirements/cpu.txt requirements/quickstart.txt
	$(UV) -r requirements/cpu.txt -r requirements/quickstart.txt
	touch $@

$(STAMPS)/project: $(STAMPS)/packages pyproject.toml $(wildcard plugins/*/pyproject.toml)
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation $(addprefix --editable ,. $(wildcard plugins/*/))
	touch $@

# Bytecode of what engines import: without it, each of their processes compiles it at the first start.
$(STAMPS)/bytecode: $(STAMPS)/project
	-env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c \
		'import pilotfish.cli.main, pilotfish.engine.server, vllm.v1.engine.core, vllm.v1.worker.cpu_worker'
	touch $@

dev: $(STAMPS)/dev ## Make the environment of contributors: that of users, and tools

$(STAMPS)/dev: $(STAMPS)/project requirements/dev.txt
	$(UV) -r requirements/dev.txt
	touch $@

up: env ## Run the quickstart, or another example with it: make up EXAMPLE=handbook. Ctrl-C stops it
	$(BIN)/pilotfish up examples/quickstart $(addprefix examples/,$(filter-out quickstart,$(EXAMPLE))) --port $(PORT)

check: lint types layers unit ## Run the checks to pass before every commit

lint: dev ## Run the linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: dev ## Format the code and apply fixes of the linter
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: dev ## Run the type checker
	$(BIN)/mypy

layers: dev ## Check the imports between layers
	$(BIN)/lint-imports

unit: dev ## Run the unit and rule tests
	$(BIN)/pytest tests/unit tests/rules

# Tiers of tests, the shortest first.
TIERS := gateway plugins weights chart apiserver serve

$(TIERS): dev ## Run one tier of tests, for example make serve: real engines
	test ! -d tests/$@ || $(BIN)/pytest tests/$@

e2e: dev ## Test the quickstart in the cluster of KUBECONFIG, with PILOTFISH_E2E_IMAGE and PILOTFISH_E2E_POOL_IMAGE
	$(BIN)/pytest tests/e2e

test: check ## Run all tests that need no cluster and no GPU
	$(MAKE) $(TIERS)

clean: ## Remove the environment
	rm -rf $(VENV)
