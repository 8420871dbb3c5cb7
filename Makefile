# `make` prints this list. Everything is installed into .venv; what a target needs is installed when its lock file has changed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
SCAN := .venv-scan/bin
SEMGREP := SEMGREP_SETTINGS_FILE=.venv-scan/settings.yml $(SCAN)/semgrep scan --metrics off --disable-version-check
SECONDS ?= 600
# End-to-end tests want the machine for themselves: they run after all others, of which two files run at a time.
ASIDE := --numprocesses 2 --dist loadfile
QUICK := tests/contracts tests/integration tests/unit

.DEFAULT_GOAL := help
.PHONY: help install start test check lint types unit scan fuzz sbom fmt bench coverage lock clean services

help: ## print this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

install: .venv/installed ## make .venv with the command vyry

start: install ## run a node: everything in one process, nothing else needed; members may invite others
	VYRY_ENV=$${VYRY_ENV:-development} VYRY_MEMBER_INVITES=$${VYRY_MEMBER_INVITES:-20} $(BIN)/vyry start

test: .venv/tested services ## run every test on real PostgreSQL, Redis and Kafka (ARGS="-k word")
	$(BIN)/python -m scripts.with_services -- $(if $(ARGS),$(BIN)/pytest $(ARGS),$(SHELL) -c '$(BIN)/pytest $(ASIDE) $(QUICK) && $(BIN)/pytest tests/e2e')

check: .venv/tested .venv-scan/installed ## lint, format, spelling, types, imports, static analysis, unit tests
	$(MAKE) --no-print-directory --jobs=2 --output-sync unit types scan lint

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports --no-logo

types: .venv/tested
	$(BIN)/mypy

unit: .venv/tested
	$(BIN)/pytest $(ASIDE) -p no:schemathesis tests/unit

scan: .venv-scan/installed ## bandit, and the rules of scripts/semgrep with their examples; uses no network
	$(SCAN)/bandit --quiet --recursive --ini setup.cfg vyry web agents migrations
	$(SEMGREP) --quiet --test scripts/semgrep
	$(SEMGREP) --quiet --error --config scripts/semgrep vyry web agents migrations

fuzz: .venv/tested .venv-fuzz/installed ## fuzz the parsers of untrusted input (SECONDS=600 over all targets)
	PYTHONPATH=.venv-fuzz $(BIN)/python -m tests.fuzz $(SECONDS) $(ARGS)

sbom: .venv-scan/installed ## sbom.json: every package of requirements.lock with its hashes, as CycloneDX
	$(SCAN)/cyclonedx-py requirements --output-reproducible --of JSON -o sbom.json requirements.lock

fmt: .venv/tested ## format the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: .venv/tested services ## measure, side by side with a minimal server (bench/RESULTS.md)
	$(BIN)/python -m bench.run $(ARGS)

coverage: .venv/tested services ## which lines the tests reach
	$(BIN)/python -m scripts.with_services -- $(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage report

lock: .venv/installed ## resolve setup.cfg anew into the four lock files
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile setup.cfg --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet \
		--extra node --extra build -o requirements.lock
	$(BIN)/uv pip compile setup.cfg --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet \
		--extra node --extra build --extra otel --extra test --extra dev -c requirements.lock -o requirements-test.lock
	for each in scan fuzz; do sed -n "/^$$each =/,/^[^ ]/s/^    //p" setup.cfg | $(BIN)/uv pip compile - --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet -o requirements-$$each.lock || exit 1; done

clean: ## remove what was built, the environment included; a node's data stays
	rm -rf .venv .venv-scan .venv-fuzz .fuzz sbom.json build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage

services:
	scripts/install-services

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python requirements.lock setup.cfg
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e ".[node]"
	touch $@

.venv/tested: .venv/installed requirements-test.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-test.lock
	touch $@

.venv-scan/installed: requirements-scan.lock
	$(PYTHON) -m venv --clear .venv-scan
	$(SCAN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-scan.lock
	touch $@

.venv-fuzz/installed: .venv/installed requirements-fuzz.lock
	rm -rf .venv-fuzz
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --target .venv-fuzz -r requirements-fuzz.lock
	touch $@
