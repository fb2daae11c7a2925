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
# The S3 server of the tests, in an environment of its own: boto3 asks for an older python-dateutil than we pin.
S3_SERVER := 'moto[s3]==5.2.5' 'flask==3.1.3' 'flask-cors==6.0.5'
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check

.PHONY: help setup setup-dev train test check docs bench clean

help:
	@echo "make train      set up $(VENV) and train Pong on real Atari at a size that suits this machine;"
	@echo "                ARGS='key=value ...' changes settings"
	@echo "make setup      only set up $(VENV) for training; TORCH_INDEX=URL takes torch from another index, such as"
	@echo "                PyTorch's for CPUs (its install page names it), which saves gigabytes where there is no GPU"
	@echo "make test       all tests"
	@echo "make check      ruff, formatting, types, import layers"
	@echo "make docs       the documentation site, into site/; a warning is an error"
	@echo "make setup-dev  only set up $(VENV) for these two"
	@echo "make bench      measure speed beside limits and peers; see benchmarks/"

# constraints.txt pins torch. From an index of its own it comes first and alone: the rest is not there.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: apex-ray needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Setting up $(VENV) for training; some minutes, by the speed of the network and the disk:"
	@echo "  Ray, Atari and the rest   0.5 GB to download, 1.7 GB on disk"
ifneq ($(TORCH_INDEX),)
	@echo "  $(TORCH)             from $(TORCH_INDEX); built for CPUs 0.2 GB to download, 0.7 GB on disk"
else ifneq ($(shell nvidia-smi -L 2>/dev/null),)
	@echo "  $(TORCH)             with CUDA, for the NVIDIA GPU here: about 3 GB to download, 7 GB on disk"
else
	@echo "  $(TORCH)             about 3 GB to download, 7 GB on disk: pip's usual torch for Linux has CUDA, though no"
	@echo "                            NVIDIA GPU is found here. Built for CPUs it is 0.2 GB and 0.7 GB: Ctrl-C, and"
	@echo "                            again with TORCH_INDEX=URL of PyTorch's index for CPUs (its install page has it)"
endif
	$(PYTHON) -m venv $(VENV)
ifneq ($(TORCH_INDEX),)
	$(INSTALL) --no-deps --index-url $(TORCH_INDEX) $(TORCH)
endif
	$(INSTALL) -c constraints.txt -e '.[standard]'
	@touch $@
	@echo "Set up. The command is $(BIN)/apex-ray; after 'source $(BIN)/activate' it is just apex-ray."

$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "What tests and checks need on top: 0.5 GB to download, 1.6 GB on disk"
	$(INSTALL) -c constraints.txt -e '.[dev]'
	$(INSTALL) --no-deps $(TINYSOUNDFONT)
	$(PYTHON) -m venv $(VENV)/s3
	$(VENV)/s3/bin/python -m pip install --disable-pip-version-check $(S3_SERVER)
	@touch $@

setup: $(VENV)/.ready

setup-dev: $(VENV)/.ready-dev

train: $(VENV)/.ready
	$(BIN)/apex-ray train atari_cpu stop.evaluation_return=18 $(ARGS)

# Two files of tests at a time.
test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.ready-dev
	$(BIN)/python -m docs_site.assemble
	$(BIN)/zensical build --clean --strict --config-file mkdocs.yml

bench: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
