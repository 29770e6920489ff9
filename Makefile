# Everything a newcomer needs: `make demo` to see mtr work, `make test` to check it. `make` lists the rest.
SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
RUNS ?= 1000
SECONDS ?= 60

.PHONY: help setup fmt check test soak fuzz bench docs build demo clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# Made anew only when what is to be installed changes.
$(VENV)/.demo: pyproject.toml
	@tests/make-venv "$(PYTHON)" "$(VENV)" '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml
	@tests/make-venv "$(PYTHON)" "$(VENV)" '.[dev]'
	@touch $@ $(VENV)/.demo

setup: $(VENV)/.dev ## make the virtual environment with everything for development

demo: $(VENV)/.demo ## see mtr work against a throwaway SSH server on this machine
	@$(BIN)/mtr demo

fmt: setup ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

check: setup ## lint, types, shell scripts, architecture
	@tests/install-system-packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	shellcheck -s sh examples/ci/run-on-server $$(git ls-files tests/lab/programs)
	$(BIN)/mypy
	shellcheck -s sh $$(git ls-files 'shell/*.sh') tests/install-system-packages tests/install-inspector tests/make-venv .ci/run
	shellcheck -s bash $$(git ls-files 'shell/*.bash')
	for file in shell/init/*; do "$${file##*.}" -n "$$file" || exit 1; done
	$(BIN)/pytest -q tests/unit/test_architecture.py

test: setup ## install what the tests need, and run them all
	@tests/install-system-packages
	@tests/install-inspector >/dev/null
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup

soak: setup ## half an hour of runs with kills and bad lines in between, kills in syncs, fuzzing; RUNS=100 is less of it
	@tests/install-system-packages
	$(BIN)/python -m tests.soak --runs $(RUNS)
	MTR_FAULT_TABLE=1 MTR_KILL_ROUNDS=200 MTR_MODEL_SEEDS=40 $(BIN)/pytest -n $(WORKERS) \
		tests/integration/test_fault_*.py tests/integration/test_sync_kills.py tests/integration/test_sync_model.py
	MTR_FLOOD_BYTES=1000000000 $(BIN)/pytest --timeout 900 tests/integration/test_job_logs.py -k twenty_times
	MTR_FUZZ_EXAMPLES=1000 $(BIN)/pytest -n $(WORKERS) --timeout 900 tests/fuzz/test_parsers.py tests/fuzz/test_found.py
	MTR_FUZZ_EXAMPLES=200 $(BIN)/pytest -n $(WORKERS) --timeout 900 tests/fuzz/test_state_files.py tests/fuzz/test_odd_*.py

$(VENV)/.fuzz: pyproject.toml
	@tests/make-venv "$(PYTHON)" "$(VENV)" '.[dev,fuzz]'
	@touch $@ $(VENV)/.dev $(VENV)/.demo

fuzz: $(VENV)/.fuzz ## the fuzzer that looks at what it reaches, SECONDS=120 for each of its targets
	$(BIN)/python -m tests.fuzz.guided all --seconds $(SECONDS)

bench: setup ## measure mtr against ssh and rsync; BENCH=--quick takes two minutes, BENCH=--help lists options
	@tests/install-system-packages
	@$(BIN)/python -m tests.benchmarks $(BENCH)
	@$(BIN)/python -m tests.benchmarks.jobs
	@$(BIN)/python -m tests.benchmarks.agents
	@$(BIN)/python -m tests.benchmarks.streams

docs: setup ## write the documents, with the reference made from the code, into build/docs
	@$(BIN)/python -m docs.build

build: setup ## build the wheel and the sdist into dist/
	$(BIN)/python -m build --outdir dist

clean: ## remove what the other targets made
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
