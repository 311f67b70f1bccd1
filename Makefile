# Every target sets up what it needs; `make demo` and `make test` work from a fresh clone.
PYTHON ?= python3
BIN := .venv/bin
TASK ?= dates

.PHONY: demo test test-slow lint check bench
demo: .venv/.local
	$(BIN)/textgrad-mcp model pull
	$(BIN)/textgrad-mcp demo --task $(TASK)

test: .venv/.dev
	$(BIN)/python -m pytest -m "not slow"

test-slow: .venv/.dev .venv/.local
	$(BIN)/python -m pytest

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: test lint

# Beside the TextGrad package, which gets an environment of its own. Writes docs/benchmarks.md.
bench: .venv/.dev .venv-bench/.done
	$(BIN)/python benchmarks/run.py $(ARGS)

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv

.venv/.dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

.venv-bench/.done:
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check textgrad==0.1.8
	touch $@

.venv/.local: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[local]'
	touch $@

MCPB := @anthropic-ai/mcpb@2.1.2
BUNDLE := pyproject.toml README.md LICENSE server engine schemas mcpb/main.py

.PHONY: mcpb docker
mcpb:
	rm -rf build/mcpb && mkdir -p build/mcpb dist
	cp --parents -r $(BUNDLE) build/mcpb
	cp mcpb/manifest.json build/mcpb/
	find build/mcpb -name __pycache__ -prune -exec rm -rf {} +
	npx --yes $(MCPB) validate build/mcpb/manifest.json
	npx --yes $(MCPB) pack build/mcpb dist/textgrad-mcp.mcpb

docker:
	docker build -t textgrad-mcp .

# The official conformance suite needs Node; it runs against a test server made of our factory.
.PHONY: conformance
conformance: .venv/.dev build/conformance/node_modules
	$(BIN)/python -m pytest tests/test_conformance.py -s

build/conformance/node_modules:
	mkdir -p build/conformance
	npm install --prefix build/conformance --no-audit --no-fund --silent \
	  node@22 @modelcontextprotocol/conformance@0.2.0-alpha.12
