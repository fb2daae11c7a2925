# Everything runs from .venv, which the first target that needs it sets up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := $(shell grep '^torch==' constraints.txt)
# Plays soundfonts; what it depends on is a player that would have to be compiled.
TINYSOUNDFONT := $(shell grep '^tinysoundfont==' constraints.txt)

.PHONY: help setup train test check bench clean

help:
	@echo "make setup   set up $(VENV)"
	@echo "make train   train Pong on real Atari at a size that suits this machine; ARGS='key=value ...' changes settings"
	@echo "make test    all tests"
	@echo "make check   ruff, formatting, types, import layers"
	@echo "make bench   measure speed beside limits and peers; see benchmarks/"

# torch first and pinned: a plain range would bring gigabytes of CUDA packages to machines without a GPU.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: apex-ray needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps $(TINYSOUNDFONT)
	@touch $@

setup: $(VENV)/.ready

train: $(VENV)/.ready
	$(BIN)/apex-ray train pong $(ARGS)

# Two files of tests at a time.
test: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(ARGS)

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
