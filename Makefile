# Every target sets up what it needs; `make demo` and `make test` work from a fresh clone.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
PARALLEL := --numprocesses auto --dist worksteal
TASK ?= dates
# Tests start hundreds of Python processes: each would compile again what is not kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow lint check bench
demo: .venv/.local
	$(BIN)/textgrad-mcp model pull
	$(BIN)/textgrad-mcp demo --task $(TASK)

test: .venv/.dev
	$(PYTEST) -m "not slow and not postgres" $(PARALLEL)

test-slow: .venv/.dev .venv/.local
	$(PYTEST)

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

# GEPA and TextGrad, for benchmarks/head_to_head.py.
.PHONY: bench-rivals
bench-rivals: .venv/.dev .venv-bench/.done .venv-gepa/.done

.venv-gepa/.done:
	$(PYTHON) -m venv .venv-gepa
	.venv-gepa/bin/python -m pip install --quiet --disable-pip-version-check gepa==0.1.4
	touch $@

.venv/.local: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[local]'
	touch $@

# Clients, suites and tools that come from npm and need Node: tests/clients/package.json.
CLIENTS := tests/clients/node_modules/.package-lock.json
CLIENT_TESTS := $(addprefix tests/whole/test_,$(addsuffix .py,conformance inspector typescript bundle))

.PHONY: clients test-clients conformance
clients: $(CLIENTS)

$(CLIENTS): tests/clients/package-lock.json
	npm ci --prefix tests/clients --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

test-clients: .venv/.dev $(CLIENTS)
	CLIENTS_REQUIRED=1 $(PYTEST) $(CLIENT_TESTS) $(PARALLEL)

conformance: .venv/.dev $(CLIENTS)
	CLIENTS_REQUIRED=1 $(PYTEST) tests/whole/test_conformance.py -s

# The store's contract on a PostgreSQL server, started on loopback and thrown away. Root gets one, and
# PgBouncer, from Debian's packages where there is none.
GET_POSTGRES := apt-get install -y --no-install-recommends postgresql pgbouncer

.PHONY: test-postgres postgres
test-postgres: postgres .venv/.dev
	POSTGRES_REQUIRED=1 $(PYTEST) -m postgres $(PARALLEL)

postgres:
	@if command -v pg_ctl || ls /usr/lib/postgresql/*/bin/pg_ctl; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update && $(GET_POSTGRES); \
	else echo "There is no PostgreSQL server: sudo $(GET_POSTGRES)" >&2; exit 1; fi

# The page in a real Chromium, which root gets from Debian's packages where there is none.
PAGE_TESTS := $(wildcard tests/*/*/test_page_*.py)
GET_CHROMIUM := apt-get install -y --no-install-recommends chromium fonts-dejavu-core

.PHONY: test-page chromium
test-page: chromium .venv/.dev .venv/.page $(CLIENTS)
	PAGE_REQUIRED=1 CLIENTS_REQUIRED=1 $(PYTEST) -m page $(PAGE_TESTS) $(PARALLEL)

chromium:
	@if command -v chromium || command -v chromium-browser; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update && $(GET_CHROMIUM); \
	else echo "There is no Chromium: sudo $(GET_CHROMIUM)" >&2; exit 1; fi

.venv/.page: .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'playwright>=1.60,<2'
	touch $@

BUNDLE := pyproject.toml README.md LICENSE server engine schemas mcpb/main.py

.PHONY: mcpb docker
mcpb: $(CLIENTS)
	rm -rf build/mcpb && mkdir -p build/mcpb dist
	cp --parents -r $(BUNDLE) build/mcpb
	cp mcpb/manifest.json build/mcpb/
	find build/mcpb -name __pycache__ -prune -exec rm -rf {} +
	tests/clients/node_modules/.bin/mcpb validate build/mcpb/manifest.json
	tests/clients/node_modules/.bin/mcpb pack build/mcpb dist/textgrad-mcp.mcpb

docker:
	docker build -t textgrad-mcp .

# Load on loopback: 64 HTTP clients and 8 stdio servers for ten minutes, then a reconciliation.
.PHONY: soak
soak: .venv/.dev
	$(BIN)/python -m tests.soak $(ARGS)

# Known vulnerabilities of what is installed; needs pip-audit's advisory service.
.PHONY: audit
audit: .venv/.dev .venv-audit/.done
	$(BIN)/python -m tests.audit .venv-audit/bin/pip-audit

.venv-audit/.done:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9'
	touch $@

# The paper's five systems (examples/README.md), each in an environment of its own.
EXAMPLES := molecules radiotherapy code science reasoning
.PHONY: $(addprefix example-,$(EXAMPLES))
$(addprefix example-,$(EXAMPLES)): example-%: examples/%/.venv/.done
	examples/$*/.venv/bin/python -m examples.$* $(ARGS)

example-radiotherapy: examples/radiotherapy/.venv/.patient

examples/%/.venv/.done: examples/%/requirements.txt pyproject.toml
	@sed -n 's/^# //p' $<
	$(PYTHON) -m venv examples/$*/.venv
	examples/$*/.venv/bin/python -m pip install --quiet --disable-pip-version-check -e . -r $<
	touch $@

examples/radiotherapy/.venv/.patient: examples/radiotherapy/.venv/.done
	examples/radiotherapy/.venv/bin/python -m examples.radiotherapy.patient pelvis
	touch $@
