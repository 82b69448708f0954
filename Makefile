PYTHON ?= python3
# Where pip finds torch. Empty: as pip is configured. A small CPU build on Linux:
# make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-scale test-browser check bench train evaluation localisation picture clean

help:
	@echo "make demo     read the controller of the sample clip and score the reading"
	@echo "make test     the tests"
	@echo "make test-scale  the tests that need Postgres and minutes of waiting"
	@echo "make test-browser  the tests of the page of padtrace view, in Chromium"
	@echo "make check    style and types"
	@echo "make bench    speed and memory on this machine"
	@echo "make evaluation  render evaluation clips and score the reading on them"
	@echo "make localisation  render 628 short clips and see where overlays are found"
	@echo "make train    train the parser on synthetic pictures (CONFIG=cpu or paper)"
	@echo "make picture  the pictures of the README, from what make demo made"

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else \
	  "padtrace needs Python 3.11 or newer, found %d.%d; choose one with: make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/pip install --quiet --index-url $(TORCH_INDEX) $$(grep '^torch==' requirements.lock))
	$(BIN)/pip install --quiet -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

demo: $(INSTALLED)
	$(BIN)/padtrace extract sample/video.mp4 --out out/demo
	$(BIN)/padtrace benchmark sample --out out/demo
	@echo
	@echo "What was read from sample/video.mp4 is in out/demo:"
	@echo "  out/demo/videos/*/actions.parquet   the controller state of every frame"
	@echo "  out/demo/videos/*/report.json       where the overlay was found, and what was kept and why"
	@echo "  out/demo/shards/*.parquet           frames and actions, ready for training"
	@echo "  out/demo/benchmark/sample/*.png     the reading beside the truth, and its worst moments"

test: $(INSTALLED)
	$(BIN)/python -m pytest -q

# On Debian and its relatives; elsewhere install Postgres by hand.
POSTGRES := $(wildcard /usr/lib/postgresql/*/bin/postgres)
test-scale: $(INSTALLED)
	$(if $(POSTGRES),,apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql)
	$(BIN)/python -m pytest -q -m scale

# On Debian and its relatives; elsewhere install Chromium by hand, as /usr/bin/chromium.
CHROMIUM := $(wildcard /usr/bin/chromium)
test-browser: $(INSTALLED)
	$(if $(CHROMIUM),,apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium)
	$(BIN)/python -m pytest -q -m browser

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python -m flows.bench
	$(if $(CHROMIUM),$(BIN)/python -m tests.view.measure,@echo "no Chromium, so padtrace view is not measured")

# Pictures of real games to train on, played once.
BACKGROUNDS := .cache/backgrounds/train.npy
$(BACKGROUNDS): | $(INSTALLED)
	$(BIN)/python -m synthetic.backgrounds

CONFIG ?= cpu
train: $(INSTALLED) $(BACKGROUNDS)
	$(BIN)/padtrace train parser --config $(CONFIG)

# Clips of own drawings over games that training never sees, rendered once, then scored.
# The styles of drawings that training never sees (synthetic/split.py), read once with their own template and once
# by hand, without one.
UNSEEN := streamer sunken blueprint mini
evaluation: $(INSTALLED)
	$(BIN)/python -m synthetic.clips
	$(BIN)/padtrace benchmark .cache/evaluation/* --out out/evaluation
	$(BIN)/padtrace benchmark $(addprefix .cache/evaluation/*_,$(UNSEEN)) --by-hand --out out/evaluation

# Every drawing in a grid of widths, opacities and codecs, and clips without an overlay.
localisation: $(INSTALLED)
	$(BIN)/python -m synthetic.grid
	$(BIN)/padtrace benchmark --localisation .cache/localisation/* --out out

picture: $(INSTALLED)
	$(BIN)/python docs/make_picture.py $(FRAME)
	$(BIN)/python -m docs.make_view_picture

clean:
	rm -rf out .pytest_cache .mypy_cache .ruff_cache .hypothesis
