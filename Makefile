# Everything runs inside .venv, which the first target that needs it creates.
PYTHON ?= python3
# The quickstart's task: vid, mot, or all of them.
TASK ?= all
BIN := .venv/bin

.PHONY: quickstart test check clean

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -e '.[dev]'
	touch $@

quickstart: .venv/installed
	$(BIN)/halftrack quickstart --out runs/quickstart --task $(TASK)

test: .venv/installed
	$(BIN)/pytest

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

clean:
	rm -rf .venv runs build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
