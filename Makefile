# Everything a contributor or a first-time user runs. `make env` is quick when nothing changed.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install --python $(BIN)/python --no-deps --require-hashes
STAMPS := $(VENV)/.stamps
PORT ?= 8080

.PHONY: env dev up test check lint format types layers unit serve gateway apiserver weights chart e2e clean help

help: ## Print the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env: $(STAMPS)/project ## The environment of users: engines for the CPU, weights of the quickstart, pilotfish itself

$(STAMPS)/bootstrap: requirements/bootstrap.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	mkdir -p $(STAMPS) && touch $@

$(STAMPS)/packages: $(STAMPS)/bootstrap requirements/cpu.txt requirements/quickstart.txt
	$(UV) -r requirements/cpu.txt -r requirements/quickstart.txt
	touch $@

$(STAMPS)/project: $(STAMPS)/packages pyproject.toml
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

dev: $(STAMPS)/dev ## The environment of contributors: that of users, and tools

$(STAMPS)/dev: $(STAMPS)/project requirements/dev.txt
	$(UV) -r requirements/dev.txt
	touch $@

up: env ## Run the quickstart: two models behind one OpenAI address; Ctrl-C ends it
	$(BIN)/pilotfish up examples/quickstart --port $(PORT)

check: lint types layers unit ## What must hold before every commit

lint: dev ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: dev ## Put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: dev ## Types, strictly
	$(BIN)/mypy

layers: dev ## Who may import whom
	$(BIN)/lint-imports

unit: dev ## Tests without sockets or processes
	$(BIN)/pytest tests/unit tests/rules

# Tiers in the order of their length; a tier whose folder is not there yet has nothing to run.
TIERS := gateway weights chart apiserver serve

$(TIERS): dev ## One tier of tests: make serve runs real engines
	test ! -d tests/$@ || $(BIN)/pytest tests/$@

e2e: dev ## The quickstart on the cluster that KUBECONFIG names, with PILOTFISH_E2E_IMAGE and PILOTFISH_E2E_POOL_IMAGE
	$(BIN)/pytest tests/e2e

test: check ## Everything that can be tested on a machine without cluster and GPU
	$(MAKE) $(TIERS)

clean: ## Remove the environment
	rm -rf $(VENV)
