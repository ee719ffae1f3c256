# Every target runs the set-up if needed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MEMBERS := libs/contracts libs/runtime services/api services/session-host
SOURCES := libs services deploy tests examples
LOCAL := $(BIN)/python -m deploy.local
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
  $(foreach member,wa-contracts wa-runtime wa-api wa-session-host,--no-emit-package $(member))

# Without bytecode every process compiles all that it imports, and pytest rewrites every assert.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run demo unit test check types rules sbom soak bench lock doctor clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make or renew .venv (the other targets do this by themselves)

run: $(READY) ## Start everything; Ctrl-C ends it. Prints the address when it is ready
	@exec $(LOCAL) run

demo: $(READY) ## The same with simulated phones and some sessions, in a data directory of its own
	@exec $(LOCAL) demo

unit: $(READY) ## Run the tests that need no server, in under a minute (ARGS="-k …" to choose)
	@$(BIN)/python -m pytest tests/unit --quiet --numprocesses 2 $(ARGS)

test: $(READY) ## Run all tests, on real Postgres and RabbitMQ (ARGS="-k …" to choose)
	@$(LOCAL) tools
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY) ## Format, lint, types, import rules, dependencies, what deploy/ would deploy, the published contract, no machine's names
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target types rules

types: $(READY)
	@$(BIN)/mypy $(SOURCES)

rules: $(READY)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/lint-imports
	@$(BIN)/python -m deploy.supply_chain.provenance
	@for member in $(MEMBERS); do (cd $$member && "$(CURDIR)/$(BIN)/deptry" src) || exit 1; done
	@$(BIN)/python -m deploy.supply_chain.licences
	@$(BIN)/python -m deploy.supply_chain.vulnerabilities
	@$(BIN)/python -m deploy.supply_chain.engine_release
	@$(BIN)/python -m pytest --quiet tests/unit/deploy tests/unit/contracts/test_published_contract.py \
	  tests/integration/contracts/test_asyncapi_specification.py tests/unit/contracts/test_golden.py

sbom: $(READY) ## Write what each image carries as CycloneDX into build/sbom
	@mkdir -p build/sbom
	@for service in api session-host; do \
	  $(BIN)/cyclonedx-py requirements services/$$service/requirements.lock \
	    --pyproject services/$$service/pyproject.toml --output-reproducible --validate \
	    --output-file build/sbom/$$service.cdx.json || exit 1; \
	  echo "build/sbom/$$service.cdx.json"; \
	done

lock: ## Renew requirements.lock, then the images' locks from it
	@PYTHON="$(PYTHON)" deploy/local/setup.sh --only-uv
	@$(COMPILE) --group dev pyproject.toml -o requirements.lock
	@$(COMPILE) --constraints requirements.lock deploy/images/build.in -o deploy/images/build.lock
	@for service in api session-host; do \
	  $(COMPILE) --constraints requirements.lock --python-version 3.12 \
	    services/$$service/pyproject.toml deploy/images/requirements.in \
	    -o services/$$service/requirements.lock || exit 1; \
	done

soak: $(READY) ## 10,000 messages through two hosts while strikes fall (ARGS="--seed 2 --messages 3000")
	@$(LOCAL) tools
	@$(BIN)/python -m tests.faults.soak $(ARGS)

bench: $(READY) ## Measure the product beside its bare parts (ARGS="sends --short" for some of it)
	@$(LOCAL) tools
	@$(BIN)/python -m tests.bench $(ARGS)

doctor: $(READY) ## Say what this machine has and lacks
	@$(LOCAL) doctor

clean: ## Remove .venv and caches; data directories stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache test-results

$(READY): requirements.lock pyproject.toml $(MEMBERS:%=%/pyproject.toml) deploy/local/setup.sh
	@PYTHON="$(PYTHON)" deploy/local/setup.sh
	@touch $@
