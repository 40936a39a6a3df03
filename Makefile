# Everything runs in environments that this file makes; nothing outside the repository is touched.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP_INSTALL := -m pip install --quiet --quiet --disable-pip-version-check
# More words for pytest: make test ARGS="-k late -x"
ARGS ?=

# Bytecode is compiled, here and in every child: start-up time is one of the promises.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv demo test check lint types imports format bench soak lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(READY) ## fold the retail example, show what came out, and serve it until Ctrl-C
	@echo "The command is $(BIN)/dayfold; '. $(BIN)/activate' puts it on the path."
	@$(BIN)/dayfold demo

test: $(READY) ## all tests but the soak
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not soak" $(ARGS)

check: lint types imports test ## all that CI runs

lint: $(READY) ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy, strict
	$(BIN)/mypy

imports: $(READY) ## the import contract: down only
	$(BIN)/lint-imports

format: $(READY) ## put the code in order
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(READY) .venv-bench-sqlmesh/.ready .venv-bench-dbt/.ready ## measure, beside hand-written SQL, SQLMesh and dbt
	$(BIN)/python -m benchmarks

soak: $(READY) ## the long tests: thousands of histories, large tables; then 100 M events on each engine, some 40 GB of disk
	DAYFOLD_SOAK=1 $(BIN)/python -m pytest -n 2 -m soak $(ARGS)
	$(BIN)/python -m benchmarks --only large --keep

venv: $(READY) ## make .venv from the lock; again when the lock or pyproject.toml changed

$(READY): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "making $(VENV) (once; takes a minute)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/dev.lock
	@$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src
	@touch $@

.venv-bench-%/.ready: requirements/bench-%.lock
	@echo "making .venv-bench-$* (once)"
	@rm -rf .venv-bench-$*
	@$(PYTHON) -m venv .venv-bench-$*
	@.venv-bench-$*/bin/python $(PIP_INSTALL) --require-hashes -r $<
	@touch $@

COMPILE := .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-strip-extras --no-emit-index-url --no-emit-find-links --no-build

lock: .venv-lock/.ready ## renew the versions and hashes under requirements/
	$(COMPILE) --upgrade --all-extras --group dev pyproject.toml -o requirements/dev.lock
	$(COMPILE) --upgrade --group bench-sqlmesh -o requirements/bench-sqlmesh.lock
	$(COMPILE) --upgrade --group bench-dbt -o requirements/bench-dbt.lock

.venv-lock/.ready:
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python $(PIP_INSTALL) uv
	@touch $@

clean: ## remove environments, caches and builds
	rm -rf .venv .venv-bench-sqlmesh .venv-bench-dbt .venv-lock build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
