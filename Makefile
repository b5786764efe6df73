# What you can do here. `make demo` and `make test` need Python 3.11 or newer and a package registry, nothing else.
PYTHON ?= python3
WORKERS ?= 2
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INPUTS := pyproject.toml requirements/constraints.txt
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-input --no-compile \
	$(if $(VERBOSE),,-qq --progress-bar off) -c requirements/constraints.txt

# One thread a process: parallel tests and runs would otherwise fight for the cores.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
# Nothing is compiled at installation; Python keeps what it compiles at first use.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint fmt docs bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-bench  ## compare the methods on the embedded data; prints the table and where the report is
	$(BIN)/msam compare $(ARGS)

test: $(VENV)/.installed  ## run the whole test suite (ARGS="-k shapley" to choose)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(VENV)/.installed  ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports --no-cache

fmt: $(VENV)/.installed  ## format, and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs  ## build the site into docs/_build/html, warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/.installed  ## what a training step of each method costs (ARGS=--full for all models)
	KINETO_LOG_LEVEL=99 TORCH_CPP_LOG_LEVEL=ERROR $(BIN)/python benchmarks/step.py $(ARGS)

clean:  ## remove the environment, caches and built files (runs and reports stay)
	rm -rf $(VENV) build dist docs/_build .hypothesis .mypy_cache .pytest_cache .ruff_cache htmlcov .coverage*
	find src tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

# The whole set serves the demo too, so a test run first makes a demo start at once.
$(VENV)/.installed: $(INPUTS) | $(BIN)/python
	@echo "Installing into $(VENV) (torch is the large part; VERBOSE=1 shows what pip does)."
	@$(PIP) -e '.[all,test,dev]'
	@touch $(VENV)/.installed-bench $@

$(VENV)/.installed-bench: $(INPUTS) | $(BIN)/python
	@echo "Installing into $(VENV) (torch is the large part; VERBOSE=1 shows what pip does)."
	@$(PIP) -e '.[bench]'
	@touch $@

$(VENV)/.installed-docs: $(INPUTS) | $(BIN)/python
	@echo "Installing into $(VENV) (torch is the large part; VERBOSE=1 shows what pip does)."
	@$(PIP) -e '.[bench,docs]'
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "msam needs Python 3.11 or newer, but there is no '$(PYTHON)'; name one: make PYTHON=python3.12 $(or $(MAKECMDGOALS),demo)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "msam needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) -V 2>&1); name a newer one: make PYTHON=python3.12 $(or $(MAKECMDGOALS),demo)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu install the package python3-venv and try again." >&2; exit 1; }
