# Everything runs in .venv, made here from pyproject.toml and constraints.txt. Only `native` needs a C++ compiler.
PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=

PIP = $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
CXX_FILES = $(shell git ls-files '*.c' '*.cc' '*.cpp' '*.cu' '*.cuh' '*.h' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo test lint native nvcc dist bench

help:  ## these lines
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/.run  ## analyse the bundled photographs; overlays go to overlays/
	@$(VENV)/bin/python -m sdk demo

# A file's tests stay together: what it prepares is prepared once. More than four at a time wait for memory.
test: $(VENV)/.dev  ## run every test; PYTEST_ARGS adds options
	@$(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.dev  ## ruff, mypy, import-linter, clang-format
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache
	@$(if $(CXX_FILES),$(VENV)/bin/clang-format --dry-run --Werror $(CXX_FILES),echo "clang-format: no C++ here yet")

native: $(VENV)/.dev  ## operators in C++, which nothing needs; says what is missing where it cannot build them
	@$(VENV)/bin/python -m kernels

nvcc: $(VENV)/.nvcc  ## NVIDIA's compiler into the environment, for the tests of the CUDA sources

dist: $(VENV)/.dev  ## wheel and source distribution into dist/
	@$(VENV)/bin/python -m build --outdir dist >/dev/null
	@ls dist/*

bench: $(VENV)/.dev  ## measure speed and memory into benchmarks/results, then fill the tables
	@$(VENV)/bin/python -m benchmarks.latency
	@$(VENV)/bin/python -m benchmarks.memory --frame 1080p --frame 24mp
	@$(VENV)/bin/python -m benchmarks.table

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	    { echo "$(PYTHON) is not Python 3.11 to 3.13"; echo "  -> make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; } >&2
	@$(PYTHON) -m venv $(VENV) || \
	    { rm -rf $(VENV); echo "no virtual environment"; echo "  -> apt-get install python3-venv"; exit 1; } >&2

# A stamp is older than what it was made from: then, and only then, pip runs again.
$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing what running needs into $(VENV)" >&2
	@$(PIP) --editable '.[cpu]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing what developing needs into $(VENV)" >&2
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.nvcc: pyproject.toml constraints.txt | $(VENV)/.dev
	@echo "installing NVIDIA's compiler into $(VENV)" >&2
	@$(PIP) --editable '.[nvcc]'
	@touch $@
