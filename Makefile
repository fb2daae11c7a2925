# Everything runs from .venv, which the first target that needs it sets up: what training needs (.ready), and on top of
# that what tests and checks need (.ready-dev).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where torch comes from instead of pip's own index: the URL of PyTorch's CPU index on a machine without a GPU.
TORCH_INDEX ?=
TORCH := $(shell grep '^torch==' constraints.txt)
# Plays soundfonts; what it depends on is a player that would have to be compiled.
TINYSOUNDFONT := $(shell grep '^tinysoundfont==' constraints.txt)
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check

.PHONY: help setup setup-dev train test check bench clean

help:
	@echo "make train      set up $(VENV) and train Pong on real Atari at a size that suits this machine;"
	@echo "                ARGS='key=value ...' changes settings"
	@echo "make setup      only set up $(VENV) for training; TORCH_INDEX=URL takes torch from another index, such as"
	@echo "                PyTorch's for CPUs (its install page names it), which saves gigabytes where there is no GPU"
	@echo "make test       all tests"
	@echo "make check      ruff, formatting, types, import layers"
	@echo "make setup-dev  only set up $(VENV) for these two"
	@echo "make bench      measure speed beside limits and peers; see benchmarks/"

# torch first, by itself and pinned: only it may come from an index of its own.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: apex-ray needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Setting up $(VENV) in two steps, some minutes in all."
ifneq ($(TORCH_INDEX),)
	@echo "1 of 2: $(TORCH) from $(TORCH_INDEX) (200 MB to download and 0.7 GB on disk if it is built for CPUs)"
else ifneq ($(shell nvidia-smi -L 2>/dev/null),)
	@echo "1 of 2: $(TORCH) for the NVIDIA GPU that is here: with CUDA about 3 GB to download and 7 GB on disk"
else
	@echo "1 of 2: $(TORCH); there is no NVIDIA GPU here, but pip's usual torch for Linux brings CUDA all the same:"
	@echo "        about 3 GB to download and 7 GB on disk. Built for CPUs it is 200 MB and 0.7 GB: Ctrl-C, and again with"
	@echo "        TORCH_INDEX=URL, where URL is PyTorch's index for CPUs, which its install page names"
endif
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@echo "2 of 2: Ray, Atari and the rest of what training needs: @@ to download and @@ on disk"
	$(INSTALL) -c constraints.txt -e .
	@touch $@
	@echo "Set up. $(BIN)/apex-ray is the command; after 'source $(BIN)/activate' it is just apex-ray."

$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "What tests and checks need on top: @@ to download and @@ on disk"
	$(INSTALL) -c constraints.txt -e '.[dev]'
	$(INSTALL) --no-deps $(TINYSOUNDFONT)
	@touch $@

setup: $(VENV)/.ready

setup-dev: $(VENV)/.ready-dev

train: $(VENV)/.ready
	$(BIN)/apex-ray train pong $(ARGS)

# Two files of tests at a time.
test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(ARGS)

check: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
