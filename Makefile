.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-storage test-readers test-page test-views test-orchestrators check lint format types layers bench mutants docs lock clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# The environment is rebuilt when the pinned versions or the project file change, by itself.
.venv/ready: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "annolake needs $(PYTHON) 3.11 or newer on the PATH"; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit("annolake needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/ready  ## a sandbox queue into ./demo-lake, an answer by polars and DuckDB, a page to look at
	$(BIN)/annolake demo

test: .venv/ready  ## every test
	$(BIN)/pytest -n auto --dist worksteal

test-storage: .venv/ready  ## tests of the lake with many more rounds: kills, faults, examples; a long while
	ANNOLAKE_TEST_LONG=1 $(BIN)/pytest -n auto --dist worksteal tests/load

test-readers: .venv-readers/ready  ## each call of docs/readers.md, by readers that annolake does not need itself
	.venv-readers/bin/pytest tests/readers

.venv-readers/ready: requirements.lock tests/readers/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-readers
	.venv-readers/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv-readers/bin/pip install --quiet --disable-pip-version-check -r tests/readers/requirements.txt
	.venv-readers/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

test-page: .venv-page/ready  ## the dashboard in a real Chromium, dark and light, wide and narrow
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ echo "install Chromium first, on Debian: apt-get install chromium"; exit 1; }
	.venv-page/bin/pytest tests/page

.venv-page/ready: requirements.lock tests/page/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-page
	.venv-page/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv-page/bin/pip install --quiet --disable-pip-version-check -r tests/page/requirements.txt
	.venv-page/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

test-views: .venv-views/ready  ## the views over Delta tables and S3, by the extensions of DuckDB 1.5.5
	.venv-views/bin/pytest tests/read/test_extensions.py tests/read/test_views.py

.venv-views/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv-views
	.venv-views/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv-views/bin/pip install --quiet --disable-pip-version-check --no-build-isolation -e ".[views-delta]"
	@touch $@

test-orchestrators: .venv-orchestrators/ready  ## exports run by Dagster and Airflow, in an environment of their own
	.venv-orchestrators/bin/mypy etl/annolake/run_on/airflow.py etl/annolake/run_on/dagster.py
	DAGSTER_DISABLE_TELEMETRY=1 .venv-orchestrators/bin/pytest -W default tests/orchestrators

.venv-orchestrators/ready: tests/orchestrators/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-orchestrators
	.venv-orchestrators/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tests/orchestrators/requirements.txt
	.venv-orchestrators/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

check: .venv/ready lint types layers  ## ruff, mypy --strict, import-linter

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

layers: .venv/ready
	$(BIN)/lint-imports --no-cache

format: .venv/ready  ## let ruff put the code in order
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: .venv-bench/ready  ## drift and speed against the SDK and dlt; a while, with nothing else running
	cd benchmarks && ../.venv-bench/bin/python drift.py && ../.venv-bench/bin/python speed.py

.venv-bench/ready: benchmarks/requirements.txt requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt -e .
	@touch $@

mutants: .venv-mutants/ready  ## which changes of the core no test notices; long; MODULES="decide flatten" for some
	.venv-mutants/bin/python tests/mutants.py $(MODULES)

.venv-mutants/ready: requirements.lock tests/mutants.txt
	$(PYTHON) -m venv .venv-mutants
	.venv-mutants/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv-mutants/bin/pip install --quiet --disable-pip-version-check -r tests/mutants.txt
	@touch $@

docs: .venv/ready  ## write config.example.toml and docs/{cli,schema,settings,troubleshooting}.md from the program
	$(BIN)/python docs/generate.py

PIN := .venv/uv/bin/uv pip compile --quiet --universal --generate-hashes --upgrade --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-package annolake

lock: .venv/ready  ## pin the newest versions that pyproject.toml allows
	$(PYTHON) -m venv .venv/uv
	.venv/uv/bin/pip install --quiet --disable-pip-version-check uv
	$(PIN) --extra dev -o requirements.lock pyproject.toml
	$(PIN) --extra airflow --extra dagster --extra delta --extra demo --extra gcs -c requirements.lock \
		-o tests/orchestrators/requirements.txt pyproject.toml tests/orchestrators/requirements.in

clean:
	rm -rf .venv .venv-bench .venv-mutants .venv-page .venv-readers .venv-views .venv-orchestrators demo-lake demo-lake.* build dist
