# Builds .venv from Python 3.11 or newer, and runs everything in it. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
TOOLS := $(VENV)/tools
UV := $(shell command -v uv 2>/dev/null)

# Python 3.11 and 3.12 read the path of an editable install in the encoding of the locale, and LC_ALL=C means ASCII:
# from a folder called "Über" nothing would start.
ifneq (,$(filter C POSIX,$(LC_ALL)))
export LC_ALL := C.UTF-8
endif

# Tests start the command hundreds of times; without bytecode every start would compile the program again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-wheel lint reference docs viewer bench torture mutants bbrc clean

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1@\2/' | awk -F@ '{ printf "%-18s %s\n", $$1, $$2 }'

demo: $(INSTALLED) ## Try it with sample data and a temporary archive.
	$(BIN)/xnatferry demo

test: lint viewer ## Run ruff, mypy and all tests.
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

lint: $(TOOLS) ## Run ruff and mypy.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Installs the wheel in its own environment, and runs a copy of the tests without src/.
# Left out: tests that need the source tree (tests/test_architecture.py, the build of a wheel, links from pages into src/), a browser
# or other programs (tests/web, tests/clients, tests/contract, tests/faults, tests/golden).
# Every command is started as a user starts it; `make test` forks most of them from a process that has them imported.
WHEEL := .wheel-test
test-wheel: $(TOOLS) ## Test the wheel in its own environment.
	rm -rf $(WHEEL) && mkdir $(WHEEL)
	$(BIN)/python -m hatchling build -t wheel -d $(WHEEL)/dist
	$(BIN)/python -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(WHEEL)/venv/bin/python -m pip install --quiet --group test-wheel "$$(echo $(WHEEL)/dist/*.whl)[cluster,tables]"
	mkdir $(WHEEL)/copy && cp -r tests tools examples docs README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md Makefile pyproject.toml $(WHEEL)/copy
	cd $(WHEEL)/copy && ../venv/bin/python -c 'import pathlib, sys, xnatferry; sys.exit("/site-packages/" not in xnatferry.__file__ or pathlib.Path("src").exists())'
	cd $(WHEEL)/copy && XNATFERRY_TEST_PROCESSES=started ../venv/bin/python -m pytest --numprocesses auto --dist worksteal tests/unit tests/e2e --ignore tests/e2e/test_wheel.py

# docs/cli.md and the manual page, from the commands; docs/python-api.md, from the docstrings.
reference: $(TOOLS) ## Generate docs/cli.md, docs/python-api.md and the manual page.
	$(BIN)/python -m tools.cli_reference markdown > docs/cli.md
	$(BIN)/python -m tools.cli_reference man > docs/man/xnatferry.1
	$(BIN)/python -m tools.python_reference > docs/python-api.md

# Warnings are errors.
docs: $(TOOLS) ## Build the documentation site in site/.
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# Without npm, everything except the 3-D view works.
viewer: $(INSTALLED) ## Download the 3-D viewer of the web pages from npm.
	$(BIN)/python hatch_build.py

bench: $(TOOLS) ## Run the benchmarks.
	$(BIN)/python bench/transfer.py --latency 0 10 30

# Hundreds of killed processes and tens of thousands of bad requests, and every command of tests/e2e in a process of its own.
torture: $(TOOLS) ## Run the long fault tests.
	XNATFERRY_TORTURE=200 $(BIN)/python -m pytest --timeout 7200 tests/faults tests/contract
	XNATFERRY_TEST_PROCESSES=started $(BIN)/python -m pytest --numprocesses auto --dist worksteal tests/e2e

# Which small changes of the code no test notices; SAMPLE=0 makes all of a module's changes, tests/mutants.py says more.
mutants: $(TOOLS) ## Change the code line by line, and list changes that no test notices.
	$(BIN)/python tests/mutants.py $(MODULE) $(addprefix --sample ,$(SAMPLE)) $(addprefix --minutes ,$(MINUTES))

ifdef UV
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
$(VENV)/python:
	$(UV) venv --quiet --clear --python '>=3.11' $(VENV)
	touch $@
else
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# pip older than 25.1 cannot read the dependency groups of pyproject.toml.
$(VENV)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xnatferry needs Python 3.11 or newer; use make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) --upgrade 'pip>=25.1'
	touch $@
endif

$(INSTALLED): $(VENV)/python pyproject.toml
	$(INSTALL) --editable .
	touch $@

$(TOOLS): $(INSTALLED)
	$(INSTALL) --editable . --group dev
	touch $@

# bx and the BBRC validator need another version of pyxnat, so they have their own environment.
bbrc: $(VENV)-bbrc/bin/bx ## Install bx and the BBRC validator for their tests.

$(VENV)-bbrc/bin/bx:
	$(PYTHON) -m venv --clear $(VENV)-bbrc
	$(VENV)-bbrc/bin/python -m pip install --quiet bbrc-bx==0.9.2 bbrc-validator==0.6.post1

clean: ## Delete everything that make has built.
	rm -rf $(VENV) $(VENV)-bbrc $(WHEEL) dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
