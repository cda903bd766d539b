# Falx: `make help` lists the commands. Everything sets itself up in .venv; nothing else is touched.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FALX := $(BIN)/python -m commands
.DEFAULT_GOAL := help
# What a command is told is told on its own line: a VERSION that the shell happens to export is somebody else's.
given = $(if $(filter command line,$(origin $(1))),$($(1)))
.PHONY: $(shell sed -nE 's/^([a-z]+):.*\#\#.*/\1/p' $(MAKEFILE_LIST))

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Falx needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.installed-edge: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[edge]'
	@touch $@

$(VENV)/.installed-app: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[app,words]'
	@touch $@

install: $(VENV)/.installed  ## create .venv and install, without running anything

demo: $(VENV)/.installed  ## the whole graph on phantoms: no account, no download, no GPU
	@FALX_PROFILE=demo $(FALX) demo

test: $(VENV)/.installed-dev  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup

quick: $(VENV)/.installed-dev  ## the tests that are not marked slow
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

check: $(VENV)/.installed-dev  ## style, strict types, import floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

ui: $(VENV)/.installed  ## Dagster on 127.0.0.1:3000 and MLflow on 127.0.0.1:5000; Ctrl-C ends both
	@$(FALX) ui

app: $(VENV)/.installed-app  ## slices in, what the registered models say out, on 127.0.0.1:8501; Ctrl-C ends it
	@$(FALX) app

curate: $(VENV)/.installed  ## raw collections to splits and audit, for FALX_PROFILE
	@$(FALX) curate

train: $(VENV)/.installed  ## one training: make train RECIPE=cnn3 PROTOCOL=patient
	@$(FALX) train --recipe "$(call given,RECIPE)" --protocol "$(call given,PROTOCOL)"

folds: $(VENV)/.installed  ## five patient-disjoint folds, pooled: make folds RECIPE=slim64
	@$(FALX) folds --recipe "$(call given,RECIPE)"

explain: $(VENV)/.installed  ## where a model looks, against the tumour's box: make explain RECIPE=slim64 PROTOCOL=patient
	@$(FALX) explain --recipe "$(call given,RECIPE)" --protocol "$(call given,PROTOCOL)"

report: $(VENV)/.installed  ## HTML reports of every trained model and of the release, where they are outdated
	@$(FALX) report

verify: $(VENV)/.installed  ## count every number of the reports again, from the stored answers
	@$(FALX) verify

controls: $(VENV)/.installed  ## plant faults in curated phantoms, one at a time, and show what catches each
	@$(FALX) controls

export: $(VENV)/.installed  ## a bundle that may leave: make export TARGET=falx.zip
	@$(FALX) export --target "$(call given,TARGET)"

onnx: $(VENV)/.installed-edge  ## a trained model as one ONNX file: make onnx RECIPE=slim64 PROTOCOL=patient
	@$(FALX) onnx --recipe "$(call given,RECIPE)" --protocol "$(call given,PROTOCOL)"

reference: $(VENV)/.installed  ## docs/reference.md, written anew from the code
	@$(FALX) reference

rollback: $(VENV)/.installed  ## the champion before this one again: make rollback WHY="…", or VERSION=3
	@$(FALX) rollback --version "$(call given,VERSION)" --why "$(call given,WHY)"

simulate: $(VENV)/.installed  ## six weeks of arriving phantom collections, one of them bad
	@$(FALX) simulate

doctor: $(VENV)/.installed  ## settings, devices, disk, credentials, versions: each with its fix
	@$(FALX) doctor

trust: $(VENV)/.installed  ## pin a collection's present bytes: make trust COLLECTION=cheng_figshare
	@$(FALX) trust --collection "$(call given,COLLECTION)"

clean:  ## remove the demo's state; other profiles keep theirs
	rm -rf .falx/demo
