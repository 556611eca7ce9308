# Every target does its own set-up. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
READY := .venv/.ready
PACKAGES := shared_models protos vehicle_client server upcycle
CODE := $(PACKAGES) tests benchmarks
JOBS ?= 2
DEMO_OPTIONS ?=

# One thread for each test worker; the workers share the cores.
tests tests-slow: export OMP_NUM_THREADS = 1

.PHONY: help setup demo test lint types imports tests tests-slow format protos bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(READY) ## build .venv with the pinned packages (PYTHON=... chooses the interpreter)

$(READY): pyproject.toml constraints.txt deploy/setup.sh
	bash deploy/setup.sh

demo: $(READY) ## a simulated fleet, uploads, training, AP, audit, one page; KITTI=DIR sends real scans only
	@if [ -n "$(KITTI)" ] && [ ! -d "$(KITTI)" ]; then echo "demo: KITTI=$(KITTI) is not a folder" >&2; exit 2; fi
	$(BIN)/upcycle demo $(if $(KITTI),--kitti "$(KITTI)") $(DEMO_OPTIONS)

test: lint types imports tests ## everything that must hold before a change is taken

lint: $(READY) ## style and formatting
	$(BIN)/ruff check $(wildcard $(CODE))
	$(BIN)/ruff format --check $(wildcard $(CODE))

types: $(READY) ## type checker
	$(BIN)/mypy

imports: $(READY) ## import directions
	$(BIN)/lint-imports --no-cache

tests: $(READY) ## the default test suite (JOBS=... workers)
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow and not gpu"

tests-slow: $(READY) ## the tests that take too long for every change
	$(BIN)/python -m pytest -m "slow and not gpu"

format: $(READY) ## sort imports and format the code
	$(BIN)/ruff check --fix $(wildcard $(CODE))
	$(BIN)/ruff format $(wildcard $(CODE))

protos: $(READY) ## make the message classes anew from protos/v1/*.proto
	$(BIN)/python -m protos.generate

bench: $(READY) ## time codecs and vehicle on real scans: make bench KITTI=DIR
	@if [ -z "$(KITTI)" ]; then echo "bench: set KITTI, for example make bench KITTI=../shared/data/kitti" >&2; exit 2; fi
	$(BIN)/python -m benchmarks.codec --points "$(KITTI)/training/velodyne_reduced"
	$(BIN)/python -m benchmarks.vehicle --points "$(KITTI)/training/velodyne_reduced/000008.bin"

clean: ## remove .venv and what the tools left
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find $(wildcard $(CODE)) -name __pycache__ -type d -prune -exec rm -rf {} +
