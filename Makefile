# Everything runs in .venv; a second call of a target that is done costs nothing.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& command -v $$p && break; done)
export TICKLAKE_DATA ?= $(abspath ../shared/data)
BIN := .venv/bin
STAMP := .venv/installed
WORKERS ?= 3
TORCH_STAMP := .venv/torch-installed
STACK_HOME := .ticklake/test-stack
STACK_TESTS_BESIDE := tests/hot tests/tables tests/warehouse tests/views/test_tail.py \
	tests/path/test_hot_to_dropped.py tests/warehouse_sql/test_dashboards.py \
	tests/models/test_sequences.py tests/models/test_sequence_predictions.py \
	tests/service/test_page.py tests/catalog/test_browser.py \
	$(patsubst %,tests/stack/test_%.py,archive at_rest backups_beside cluster_tls faulty_store \
	ledger_place queries recovery trino_nodes)
STACK_TESTS_ALONE := $(filter-out $(STACK_TESTS_BESIDE),$(wildcard tests/stack/test_*.py))
LONG_BENCHES := $(patsubst %,benchmarks/%.py,day_of_ticks long_query queries union_soak)
RUFF_PATHS := feature_repo flows lake infra serving warehouse_sql tests $(wildcard benchmarks notebooks)

.DEFAULT_GOAL := help
.PHONY: help install demo stack software browser test test-stack lint bench clean

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## make .venv with the exact versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "python: none of 3.11 or newer with venv found:" \
		"install one (Debian: python3-venv), or make PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (a minute or two, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# its wheel brings CUDA: 4.5 GB, so that only who needs it waits for it
$(TORCH_STAMP): $(STAMP)
	@echo "installing torch into .venv (4.5 GB, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,torch]'
	@touch $@

demo: $(STAMP)  ## run the main job in under a minute: socket to journal to hot to lake to SQL; ARGS=--live
	@$(BIN)/ticklake demo $(ARGS)

software: $(STAMP)
	@$(BIN)/python -m infra.native.install

# the tests of pages drive the machine's own; elsewhere than as root they are skipped without it
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
		{ test "$$(id -u)" = 0 && apt-get -qq update && \
		apt-get -qq install -y --no-install-recommends chromium >/dev/null; } || \
		echo "chromium: not installed: tests of pages in a browser are skipped" >&2

stack: $(STAMP)  ## install and start the stack profile's servers, natively on Debian
	@$(BIN)/python -m infra.native.install
	@$(BIN)/ticklake up --profile stack

test: $(STAMP) lint  ## run all checks and tests
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

# what has a database or servers of its own at once, then what empties, stops and kills the stack's
test-stack: $(STAMP)  ## run the tests that need the stack profile's servers, torch or a browser; starts and stops them
	@$(MAKE) --no-print-directory -j3 software browser $(TORCH_STAMP)
	@$(BIN)/ticklake up --profile stack --home $(STACK_HOME) || \
		{ $(BIN)/ticklake down --home $(STACK_HOME); exit 1; }
	@export TICKLAKE_TEST_STACK=$(STACK_HOME); \
	export TICKLAKE_TEST_TIMESCALE_APACHE_DSN=$$($(BIN)/python -c "import pathlib, lake.state; \
		print(lake.state.postgres_dsn(pathlib.Path('$(STACK_HOME)')))"); \
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile $(STACK_TESTS_BESIDE); beside=$$?; \
	$(BIN)/python -m pytest -q $(STACK_TESTS_ALONE); ended=$$?; \
	$(BIN)/ticklake down --home $(STACK_HOME); exit $$((beside | ended))

lint: $(STAMP)  ## ruff, mypy and the import layers
	@$(BIN)/ruff check $(RUFF_PATHS)
	@$(BIN)/ruff format --check $(RUFF_PATHS)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: $(STAMP)  ## print the figures of benchmarks/, but for those that need a stack or take an hour
	@for b in $(filter-out $(LONG_BENCHES),$(wildcard benchmarks/[a-z]*.py)); do $(BIN)/python $$b; done

clean:  ## stop the servers of .ticklake and remove .venv and caches; data stays
	@if test -x $(BIN)/ticklake; then $(BIN)/ticklake down; fi
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
