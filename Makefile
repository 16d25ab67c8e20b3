# A bare machine needs Python 3.11 or newer and make; everything else is installed into .venv.
#   make up      all set-up, then serve and train         make check   format, lint, types, layers
#   make test    all set-up, then the whole test suite    make prove   the long acceptance runs
PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

WEB := $(shell find web -type d '(' -name node_modules -o -name __pycache__ ')' -prune -o -type f -print) \
	parley/service/web/tokens.css

.PHONY: up setup test check fix docs bench prove web clean

up: setup
	$(BIN)/parley up $(ARGS)

setup: .venv/.web

test: .venv/.dev .venv/.web
	$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m web.assemble check

fix: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m web.assemble fix

docs: .venv/.dev
	$(BIN)/python -m docs.generate
	$(BIN)/python -m web.client
	$(BIN)/python -m pytest tests/test_docs.py $(ARGS)

bench: .venv/.dev
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file --quick || exit 1; done

prove: .venv/.dev
	$(BIN)/python -m tests.prove $(ARGS)

# The web application alone, with the Node of the `dev` extra: for who works on it.
web: .venv/.dev
	$(BIN)/python -m web.client
	$(BIN)/python -m web.assemble

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "parley needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv .venv

# torch goes first and alone, so that nothing else decides which build comes in.
.venv/.torch: .venv/bin/python
	@$(BIN)/python -c 'import torch' 2>/dev/null || { echo "installing $(TORCH)"; $(PIP) "$(TORCH)"; }
	@touch $@

.venv/.runtime: .venv/.torch pyproject.toml constraints.txt
	$(PIP) -c constraints.txt -e .
	@touch $@

# The package's own build makes the web application: here again where a source of it changed.
.venv/.web: .venv/.runtime $(WEB)
	@$(BIN)/python -m web.assemble fresh || { echo "building the web application"; $(PIP) --no-deps -e .; }
	@touch $@

.venv/.dev: .venv/.runtime
	$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info web/node_modules parley/service/web/app
