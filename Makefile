# Everything runs inside .venv, which the first target that needs it creates.
PYTHON ?= python3
# The quickstart's task: vid, mot, sot, or all of them.
TASK ?= all
# The quickstart's seed: another one films other videos and begins from other weights.
SEED ?= 0
BIN := .venv/bin
# Every process would compile PyTorch's Python files anew.
unexport PYTHONDONTWRITEBYTECODE
# What pip says is shown only where it fails.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
LOG := .venv/install.log
# A process for each core, with one thread: most tests are too small for a second. Those that are
# done early take tests from the others. PROCESSES=0 runs all in one, as a debugger needs it.
PROCESSES ?= auto
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(PROCESSES) --maxprocesses 8 --dist worksteal
OR_TELL := > $(LOG) 2>&1 || { cat $(LOG) >&2; exit 1; }

.PHONY: quickstart quickstart-full test check docs clean

.venv/installed: pyproject.toml
	@echo "installing halftrack and PyTorch into .venv: one to two minutes"
	@$(PYTHON) -m venv .venv
	@$(INSTALL) -e . $(OR_TELL)
	@touch $@

.venv/developing: .venv/installed
	@echo "installing what checks it: pytest, ruff, mypy, import-linter, hypothesis"
	@$(INSTALL) -e '.[dev]' $(OR_TELL)
	@touch $@

.venv/documenting: .venv/developing
	@echo "installing what builds the documentation: mkdocs-material, mkdocstrings"
	@$(INSTALL) -e '.[docs]' $(OR_TELL)
	@touch $@

# Tiny recipes in fp32 and fp16 on synthetic video, and a page of all of it.
quickstart: .venv/installed
	@$(BIN)/halftrack quickstart --out runs/quickstart --task $(TASK) --seed $(SEED)

# The same trained longer, and in bf16 too.
quickstart-full: .venv/installed
	@$(BIN)/halftrack quickstart --full --out runs/quickstart-full --task $(TASK) --seed $(SEED)

# All tests but those marked slow.
test: .venv/developing
	$(PYTEST) -m "not slow"

check: .venv/developing
	@echo "lint, format, types, who imports whom, all tests"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

# The pages of docs/ and benchmarks/ as a site; a warning, as of a link that leads nowhere, is an error.
docs: .venv/documenting
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "written to build/docs/index.html; with the search: $(PYTHON) -m http.server -d build/docs"

clean:
	rm -rf .venv runs build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
