# Two commands do all the set-up: `make demo` and `make test`. Both need Python 3.11 or newer.
# uv is used when it is there, a plain venv otherwise.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first Python that runs and is new enough (a name on PATH may be an empty promise).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

VENV := .venv
BIN := $(VENV)/bin

# MLX's Linux wheel multiplies matrices with the reference BLAS; Debian's OpenBLAS, where it is
# installed, does it 50 times faster. `apt install libopenblas0-pthread`.
OPENBLAS := $(firstword $(wildcard /usr/lib/*/openblas-pthread/libopenblas.so.0))
ifeq ($(shell uname -s),Linux)
RUN := $(if $(OPENBLAS),LD_PRELOAD=$(OPENBLAS)) $(BIN)/
BLAS_NOTE := $(if $(OPENBLAS),,@echo "OpenBLAS is not installed: matrix products will be slow (apt install libopenblas0-pthread)")
else
RUN := $(BIN)/
endif

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/demo ## hear, speak and answer, with the embedded checkpoint
	$(BLAS_NOTE)
	@$(RUN)python scripts/demo.py

# Two files at a time, each with a core: most of what runs has use for one.
test: $(VENV)/test ## run the tests
	$(BLAS_NOTE)
	OPENBLAS_NUM_THREADS=1 $(RUN)pytest --numprocesses 2 --dist loadfile

parity: $(VENV)/test ## compare every stage with the reference's goldens
	$(BLAS_NOTE)
	@$(RUN)python tests/reference/parity.py

train-parity: $(VENV)/test ## compare training's losses and gradients with the reference's
	$(BLAS_NOTE)
	@PYTHONPATH=training $(RUN)python tests/reference/train_parity.py

# Both halves of a batch are to be under way at once, and glibc is to keep memory, not to give it
# back and have it cleared anew.
BRISK := OPENBLAS_NUM_THREADS=1 MLX_BFS_MAX_WIDTH=5000
BRISK += MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=8000000000
BRISK += MALLOC_TOP_PAD_=100000000

nano: $(VENV)/test ## make the embedded checkpoint from nothing (hours; goes on where it was)
	$(BLAS_NOTE)
	@PYTHONPATH=training $(BRISK) $(RUN)python -m lfm_train.nano build/nano

nano-check: $(VENV)/test ## what the embedded checkpoint can do, on data made anew (half an hour)
	$(BLAS_NOTE)
	@PYTHONPATH=training OPENBLAS_NUM_THREADS=1 $(RUN)python -m lfm_train.nano.check

metal-check: $(VENV)/test ## every Metal kernel, run thread for thread without Metal
	$(BLAS_NOTE)
	@$(RUN)python tests/metal/check.py

cli-check: $(VENV)/test ## the command's contract, and how fast it starts
	$(BLAS_NOTE)
	$(RUN)pytest tests/cli
	@$(BIN)/python scripts/startup.py

daemon-check: $(VENV)/test ## every fault on a real daemon, its latency and its memory
	$(BLAS_NOTE)
	@$(RUN)python scripts/daemon_check.py

long-recording: $(VENV)/test ## two hours of speech through `lfm transcribe` (needs espeak-ng)
	$(BLAS_NOTE)
	@$(RUN)python benchmarks/long_recording.py build/long-recording

commands: $(VENV)/demo ## write docs/commands.md anew
	@$(BIN)/python scripts/commands.py > docs/commands.md

manual: $(VENV)/demo ## write docs/lfm.1 anew
	@$(BIN)/python scripts/manual.py > docs/lfm.1

pictures: $(VENV)/demo ## draw docs/shortcuts anew, from what is installed on a Mac
	@$(BIN)/python scripts/shortcut_pictures.py

formula: $(VENV)/demo ## write Formula/lfm.rb anew, from uv.lock
	@$(BIN)/python scripts/formula.py

lock: ## write uv.lock anew (needs uv and the network)
	uv lock
	@$(MAKE) --no-print-directory formula

dist: $(VENV)/test ## the source archive and the wheel
	@$(BIN)/python scripts/distribution.py

mac-check: $(VENV)/test ## what of a Mac can be checked here: formula, manual, wheel, plists
	$(BLAS_NOTE)
	@$(RUN)python scripts/mac_check.py

performance: $(VENV)/demo ## derive docs/performance.md anew
	$(BLAS_NOTE)
	@$(RUN)python scripts/performance.py > docs/performance.md

full-size: $(VENV)/demo ## convert random weights of the true shapes (needs 5 GB of disk)
	$(BLAS_NOTE)
	$(RUN)python benchmarks/full_size.py build/full-size

compare: $(VENV)/demo ## our engine beside its peers (installs them; half an hour, 20 GB of disk)
	$(BLAS_NOTE)
	@$(RUN)python -m benchmarks.compare

turns: $(VENV)/test ## is an answer there when a turn's end is certain?
	$(BLAS_NOTE)
	@$(RUN)python benchmarks/turns.py

lint: $(VENV)/dev ## style, types and the import rule
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	PYTHONPATH=training $(BIN)/lint-imports

format: $(VENV)/dev ## put the style right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what the other targets made
	rm -rf $(VENV) dist build demo/*.wav .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# What is installed is recorded in a file beside it, and installed again when pyproject changes.
$(VENV)/demo: pyproject.toml | $(VENV)/made
	$(call install,-e .)
	@touch $@

$(VENV)/test: pyproject.toml | $(VENV)/made
	$(call install,-e . --group test)
	@touch $@

$(VENV)/dev: pyproject.toml | $(VENV)/made
	$(call install,-e . --group dev)
	@touch $@

$(VENV)/made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found"; exit 1; }
	@if command -v uv >/dev/null; then uv venv --quiet --python $(PYTHON) $(VENV); else \
		$(PYTHON) -m venv $(VENV) || { echo "on Debian: apt install python3-venv"; exit 1; }; \
		$(BIN)/python -m pip install --quiet --upgrade pip; fi
	@touch $@

install = @if command -v uv >/dev/null; then \
	uv pip install --quiet --python $(BIN)/python $(1); else \
	$(BIN)/python -m pip install --quiet $(1); fi

.PHONY: help demo test parity train-parity nano nano-check metal-check cli-check daemon-check long-recording commands manual pictures formula lock dist mac-check performance full-size compare turns lint format clean
