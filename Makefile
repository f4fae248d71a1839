# Everything a newcomer needs: `make demo`, then `make test`. Both build .venv from nothing but Python 3.11+.
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

# Tests start the command hundreds of times; without bytecode every start would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-wheel lint reference docs viewer bench torture mutants bbrc clean

demo: $(INSTALLED)
	$(BIN)/xnatferry demo

test: lint viewer
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

lint: $(TOOLS)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# The wheel as people install it, in an environment of its own, tested from a copy of the tests with no src/ beside it.
# Left out: what needs the source tree (tests/test_architecture.py, the build of a wheel, links from pages into src/), and what
# has a browser or programs of others beside it (tests/web, tests/clients, tests/contract, tests/faults, tests/golden).
# Every command is started as a user starts it; `make test` forks most of them from a process that has them imported.
WHEEL := .wheel-test
test-wheel: $(TOOLS)
	rm -rf $(WHEEL) && mkdir $(WHEEL)
	$(BIN)/python -m hatchling build -t wheel -d $(WHEEL)/dist
	$(BIN)/python -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(WHEEL)/venv/bin/python -m pip install --quiet --group test-wheel "$$(echo $(WHEEL)/dist/*.whl)[cluster,tables]"
	mkdir $(WHEEL)/copy && cp -r tests examples docs README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md Makefile pyproject.toml $(WHEEL)/copy
	cd $(WHEEL)/copy && ../venv/bin/python -c 'import pathlib, sys, xnatferry; sys.exit("/site-packages/" not in xnatferry.__file__ or pathlib.Path("src").exists())'
	cd $(WHEEL)/copy && XNATFERRY_TEST_PROCESSES=started ../venv/bin/python -m pytest --numprocesses auto --dist worksteal tests/unit tests/e2e --ignore tests/e2e/test_wheel.py

# docs/cli.md and the manual page, from the commands; docs/python-api.md, from the docstrings.
reference: $(TOOLS)
	$(BIN)/python -m xnatferry.cli.reference markdown > docs/cli.md
	$(BIN)/python -m xnatferry.cli.reference man > docs/man/xnatferry.1
	$(BIN)/python -m xnatferry.cli.python_reference > docs/python-api.md

# The documentation as a site, in site/; warnings are errors.
docs: $(TOOLS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# The 3-D viewer of the web pages comes from npm; without npm everything but that view works.
viewer: $(INSTALLED)
	$(BIN)/python hatch_build.py

bench: $(TOOLS)
	$(BIN)/python bench/transfer.py --latency 0 10 30

# Hundreds of killed processes and tens of thousands of bad requests, and every command of tests/e2e in a process that is
# started as a user starts it; takes its time.
torture: $(TOOLS)
	XNATFERRY_TORTURE=200 $(BIN)/python -m pytest --timeout 7200 tests/faults tests/contract
	XNATFERRY_TEST_PROCESSES=started $(BIN)/python -m pytest --numprocesses auto --dist worksteal tests/e2e

# Which small changes of the code no test notices; SAMPLE=0 makes all of a module's changes, tests/mutants.py says more.
mutants: $(TOOLS)
	$(BIN)/python tests/mutants.py $(MODULE) $(addprefix --sample ,$(SAMPLE)) $(addprefix --minutes ,$(MINUTES))

ifdef UV
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
$(VENV)/python:
	$(UV) venv --quiet --clear --python '>=3.11' $(VENV)
	touch $@
else
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# pip older than 25.1 cannot read the dependency groups of pyproject.toml, so it is renewed.
$(VENV)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xnatferry needs Python 3.11 or newer; make PYTHON=python3.12 names one")'
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

# bx and the BBRC validator bring a pyxnat of their own, so the tests run them from an environment of their own.
bbrc: $(VENV)-bbrc/bin/bx

$(VENV)-bbrc/bin/bx:
	$(PYTHON) -m venv --clear $(VENV)-bbrc
	$(VENV)-bbrc/bin/python -m pip install --quiet bbrc-bx==0.9.2 bbrc-validator==0.6.post1

clean:
	rm -rf $(VENV) $(VENV)-bbrc $(WHEEL) dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
