# `make demo`, `make test` and `make lint` do all set-up on a machine that has Python 3.11 or newer, pip and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PARTIAL := $(VENV)/.partial
FLOOR := $(CURDIR)/.venv-floor
AUDIT := $(CURDIR)/.venv-audit

# Without compiled bytecode every process pays 5-15 s for its imports. ninja is found through PATH only.
export UV_COMPILE_BYTECODE ?= 1
export UV_PYTHON_DOWNLOADS := never
export PATH := $(BIN):$(PATH)

UV := $(BIN)/uv
SYNC := $(UV) pip install --quiet --python $(BIN)/python
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --quiet

.PHONY: demo test test-floor lint format lock audit sbom setup clean

demo: $(READY)
	@$(BIN)/senet compare digits

test: $(READY)
	@$(BIN)/pytest -n auto --dist worksteal

# The code that depends on torch's version, on the oldest that senet supports. Exporters to ONNX are the newest there are, whatever the torch, so
# they are not installed there; torch 2.11's own refuses U-Nets of free sizes, in one line. What either writes is not tested there.
test-floor: $(FLOOR)/.ready
	@PATH=$(FLOOR)/bin:$$PATH PYTHONPATH=$(CURDIR)/src $(FLOOR)/bin/pytest -n auto --dist worksteal tests/ops tests/blocks tests/models tests/training/test_saving.py tests/training/test_checkpoint.py -k "not onnx and not files_for_other_engines"

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(READY)
	$(LOCK) pyproject.toml --all-extras -o requirements.lock
	$(LOCK) pyproject.toml --extra train --group floor -o requirements-floor.lock
	printf 'uv\n' | $(LOCK) - -o requirements-uv.lock
	printf 'pip-audit\n' | $(LOCK) - -o requirements-audit.lock

# Fails if anything is known against what is locked; without a network it goes by supply/known_bad.toml alone, and says so.
audit: $(AUDIT)/.ready
	@$(AUDIT)/bin/python -m supply.audit

# A bill of materials of requirements.lock (CycloneDX): make sbom > senet.cdx.json
sbom: $(READY)
	@$(BIN)/python -m supply.sbom

setup: $(READY)

# An interrupted install leaves packages without bytecode that the next run would take for complete: the mark makes it start over.
$(READY): requirements.lock requirements-uv.lock pyproject.toml
	@echo "Setting up .venv (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@reinstall=$$(test ! -e $(PARTIAL) || echo --reinstall); touch $(PARTIAL); \
	$(SYNC) --require-hashes $$reinstall -r requirements.lock
	@$(SYNC) --no-deps --no-build-isolation -e .
	@rm -f $(PARTIAL)
	@touch $(READY)

$(FLOOR)/.ready: requirements-floor.lock | $(READY)
	@echo "Setting up .venv-floor"
	@$(PYTHON) -m venv --clear $(FLOOR)
	@$(UV) pip install --quiet --python $(FLOOR)/bin/python --require-hashes -r requirements-floor.lock
	@touch $@

$(AUDIT)/.ready: requirements-audit.lock | $(READY)
	@echo "Setting up .venv-audit"
	@$(PYTHON) -m venv --clear $(AUDIT)
	@$(UV) pip install --quiet --python $(AUDIT)/bin/python --require-hashes -r requirements-audit.lock
	@touch $@

clean:
	rm -rf $(VENV) $(FLOOR) $(AUDIT) .pytest_cache .ruff_cache .hypothesis
