# Two commands: `make demo` does the main job on this machine, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
QUESTION ?= What should I do before the power goes out?
# The lab: real containers. `make lab SATELLITES=3`, `make lab INSTALL=1`, `make lab PREFIX=other`.
PREFIX = maw
SATELLITES = 1
LAB = $(BIN)/python molecule/lab

.PHONY: demo test lint bench lab lab-down molecule slow-end-to-end slow-lab slow-rest clean constraints

demo: $(VENV)/.installed
	@$(BIN)/maw demo examples --question "$(QUESTION)"

# In CI the slow ones run beside each other, for they mostly wait for machines and time-outs; the others, which
# look at the clock, run before them and alone.
test: lint
	$(BIN)/python -m compileall -q maw
ifeq ($(CI),true)
	$(BIN)/python -m pytest -m "not slow"
	$(MAKE) --jobs=3 --output-sync=target slow-end-to-end slow-lab molecule slow-rest
else
	$(BIN)/python -m pytest
endif

slow-end-to-end: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow tests/end_to_end

slow-lab: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow tests/lab tests/mirror

slow-rest: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow --ignore=tests/end_to_end --ignore=tests/lab --ignore=tests/mirror

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/ansible-lint --offline --profile production playbooks roles inventory maw/templates/inventory molecule

bench: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	@for file in benchmarks/[a-z]*.py; do echo "# $$file"; $(BIN)/python $$file || exit 1; done

lab: $(VENV)/.installed
	@$(LAB) up --prefix $(PREFIX) --satellites $(SATELLITES) $(if $(INSTALL)$(filter true,$(CI)),--install)

lab-down: $(VENV)/.installed
	@$(LAB) down --prefix $(PREFIX)

# molecule runs ansible's programs by their bare names.
molecule: $(VENV)/.installed-dev
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/molecule test --all --exclude satellite
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/molecule test --scenario-name satellite

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "maw needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@PYTHON="$(PYTHON)" sh .ci/prepare venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt .ci/prepare
	@PYTHON="$(PYTHON)" sh .ci/prepare test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed

constraints:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet pyproject.toml --extra dev --extra bench --universal \
	  --python-version 3.11 --no-header --no-annotate --no-emit-index-url --upgrade -o constraints.txt

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
