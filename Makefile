# Every target sets up what it needs in .venv, from nothing but Python 3.11 or later.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Two processes, a file of tests each: most tests wait for a gateway or an engine to start.
SPREAD := -n 2 --dist loadfile
# The long ones mostly wait.
SLOW_SPREAD := -n 3 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all check format bench audit wheel clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## Install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; set PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $(STAMP)

run: $(STAMP) ## Serve the gateway on http://127.0.0.1:8000
	$(BIN)/gateway serve

test: $(STAMP) ## Run the tests (minutes)
	$(BIN)/pytest $(SPREAD) -m 'not slow'

test-all: test ## Run the slow tests too: kill loops and long runs
	$(BIN)/pytest $(SLOW_SPREAD) -m slow

check: $(STAMP) ## Lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Run the benchmarks and print their tables
	$(BIN)/python -m bench.job_cost
	$(BIN)/python -m bench.http_client
	$(BIN)/python -m bench.auth
	$(BIN)/python -m bench.billing
	$(BIN)/python -m bench.observe
	$(BIN)/python -m bench.engine

audit: $(STAMP) ## Look the pinned versions up among the known holes (needs a network; gates nothing)
	$(BIN)/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	-$(BIN)/pip-audit --no-deps --disable-pip --requirement constraints.txt

wheel: $(STAMP) ## Build the wheel into dist/
	rm -rf dist
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## Remove .venv and build output (never ./data)
	rm -rf .venv dist build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
