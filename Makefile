# Two commands: `make demo` and `make test`. Both set up everything they need in .venv on first use. `make quick` is the
# part of the tests that needs no cluster.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two files of tests at a time, in the order of tests/side_by_side.py; all that need a cluster share one Ray head.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile --no-loadscope-reorder
READY := $(VENV)/.ready

.PHONY: demo test quick lint style types tested tested-quickly install clean

demo: $(READY)
	$(BIN)/python -m demo

# pyright takes two minutes of one core: it runs beside the tests.
test: style
	$(MAKE) --no-print-directory --jobs 2 types tested

quick: style
	$(MAKE) --no-print-directory --jobs 2 types tested-quickly

lint: style types

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/pyright

tested: $(READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

tested-quickly: $(READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not cluster"

install: $(READY)

# pyright fetches its program on the first call: part of the installation, so that later calls need no network.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pyright --version
	touch $(READY)

clean:
	rm -rf $(VENV) demo_out
