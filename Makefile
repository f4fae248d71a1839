# Everything a newcomer needs: `make demo`, then `make test`. Both build .venv from nothing but Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
UV := $(shell command -v uv 2>/dev/null)

.PHONY: demo test test-all lint bench clean

demo: $(READY)
	$(BIN)/xnatferry demo

test: lint
	$(BIN)/python -m pytest --numprocesses auto

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python bench/push.py

# The dependency groups of pyproject.toml; pip older than 25.1 cannot read groups, so pip is renewed first.
$(READY): pyproject.toml
ifdef UV
	$(UV) venv --quiet --clear --python '>=3.11' $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --editable . --group dev
else
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xnatferry needs Python 3.11 or newer; make PYTHON=python3.12 names one")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
endif
	touch $@

clean:
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
