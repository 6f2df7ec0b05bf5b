# Two commands: `make demo` and `make test`. Both set up everything they need in .venv on first use. `make quick` is the
# part of the tests that needs no cluster, `make peers` reads sets with other people's readers, installed beside .venv,
# `make docs` builds the documentation as a site, site_out/index.html.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two files of tests at a time, in the order of tests/side_by_side.py; all that need a cluster share one Ray head.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile --no-loadscope-reorder
READY := $(VENV)/.ready

# Readers that no dependency of ours is; their environment finds everything else in .venv, and changes nothing there.
PEERS := .venv-peers
READERS := wids==0.1.11 torchdata==0.11.0 megatron-energon==7.4.1

.PHONY: demo test quick lint style types tested tested-quickly soak peers docs install clean

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

# An hour: builds into a folder and a bucket, killed at random moments.
soak: $(READY)
	BUILD_KILL_ROUNDS=20 $(BIN)/python -m pytest -s -n 0 tests/jobs/test_build_kills.py

peers: $(PEERS)/.ready
	DIFFUSION_PERCEPTION_PEERS=1 $(PEERS)/bin/python -m pytest -rs -p no:cacheprovider tests/set_format/test_peers.py \
		tests/set_format/test_ray_data.py tests/diffusion_perception/torch_data/test_trainers.py

$(PEERS)/.ready: $(READY)
	$(BIN)/python -m venv $(PEERS)
	$(BIN)/python -c "import site; print(site.getsitepackages()[0])" > \
		$$($(PEERS)/bin/python -c "import site; print(site.getsitepackages()[0])")/dev.pth
	$(PEERS)/bin/python -m pip install --quiet $(READERS)
	touch $@

docs: $(READY)
	$(BIN)/python -m website

install: $(READY)

# pyright fetches its program on the first call: part of the installation, so that later calls need no network.
$(READY): pyproject.toml constraints.txt hatch_build.py $(wildcard shards/native/*.[ch])
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pyright --version
	touch $(READY)

clean:
	rm -rf $(VENV) $(PEERS) demo_out site_out
