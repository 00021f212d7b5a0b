# Every target sets up what it needs; Python 3.11 or newer, pip and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo figures test check lint types contracts cover proofs lowest dist wheel bench clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / - /'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed; set PYTHON=python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch $@

demo: $(STAMP)  ## an order service whose three upstreams fail in turn, as a live picture
	$(BIN)/resilient-client demo

SIMULATE := $(BIN)/resilient-client simulate
IMAGES := docs/images

figures: $(STAMP)  ## the figures of the documentation, drawn again from their seeds: about a minute
	$(BIN)/python tools/house.py
	$(SIMULATE) stall --compare retry=naive,default --seeds 5 --output $(IMAGES)/stall.svg > /dev/null
	$(SIMULATE) outage --compare retry_budget=off,default --compare circuit_breaker=off,default \
		--output $(IMAGES)/outage.svg > /dev/null
	$(BIN)/python benchmarks/figures/contention.py $(IMAGES)/contention.svg
	$(BIN)/python benchmarks/figures/random_failures.py $(IMAGES)/random-failures.svg

# The tests start hundreds of Python processes, each of which would compile the library again.
unexport PYTHONDONTWRITEBYTECODE

# Two workers per core (tests/conftest.py); an idle worker takes tests over from a busy one.
PYTEST := -m pytest -n auto --dist worksteal

test: $(STAMP)  ## the tests of every day, in parallel: below 3 minutes on two cores
	$(BIN)/python $(PYTEST) -m 'not slow'

check: lint types contracts cover proofs  ## everything that CI runs

lint: $(STAMP)  ## ruff, check and format; the retired words; the picture of the packages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python tools/house.py --check
	$(BIN)/python tools/words.py

types: $(STAMP)  ## mypy --strict and pyright
	$(BIN)/mypy
	$(BIN)/pyright

contracts: $(STAMP)  ## import-linter: who may import whom
	$(BIN)/lint-imports

cover: $(STAMP)  ## the tests of `make test`, with branch coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST) -m 'not slow'
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

proofs: $(STAMP)  ## the slow tests, and ten times as many examples of the property tests
	$(BIN)/python $(PYTEST) -m 'slow or hypothesis' --hypothesis-profile=thorough

# The lower bounds of pyproject.toml, tested where they matter most: on the wire, with the oldest aiohttp allowed.
LOWEST := $(VENV)-lowest

$(LOWEST)/.installed: pyproject.toml tools/lowest.py
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(LOWEST)/bin/python tools/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOWEST)/constraints.txt \
		--editable '.[speed,testing]' --group test-core
	@touch $@

lowest: $(LOWEST)/.installed  ## the tests of the transport with the lowest dependencies that pyproject.toml allows
	$(LOWEST)/bin/python $(PYTEST) tests/unit/transport tests/behaviour/test_wire.py tests/behaviour/test_bodies.py

dist: $(STAMP)  ## build the sdist, the wheel from the sdist, and check what the index would show
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*

# A new environment for each run: it must hold the wheel that was just built and nothing of the checkout.
WHEEL := $(VENV)-wheel

wheel:  ## build the wheel, install it into a new environment and run the tests of `make test` against it
	rm -rf dist/*.whl $(WHEEL)
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(WHEEL)/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(WHEEL)/bin/python -m pip install --quiet "$$(echo dist/*.whl)[all]" --group test
	$(WHEEL)/bin/python -c 'import resilient_client as r; assert "$(WHEEL)" in r.__file__, r.__file__; print(r.__file__)'
	$(WHEEL)/bin/python $(PYTEST) -m 'not slow'

# The benchmarks compare with libraries that are nothing to us, so they have an environment of their own. A peer that
# cannot be installed costs its row; the library comes last, for where a peer wants other versions, it has its way.
BENCH ?=
BENCH_PYTHON ?= $(shell python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null || echo $(PYTHON))
PEERS := benchmarks/.venv

$(PEERS)/.installed: pyproject.toml benchmarks/requirements.txt
	$(BENCH_PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@grep -v '^#' benchmarks/requirements.txt | while read -r peer; do \
		$(PEERS)/bin/python -m pip install --quiet "$$peer" || echo "not to be had here: $$peer"; done
	$(PEERS)/bin/python -m pip install --quiet --editable '.[all]'
	@touch $@

bench: $(STAMP) $(PEERS)/.installed  ## CPU a call beside other libraries, or BENCH=--quick: a minute; and the import
	$(PEERS)/bin/python -m benchmarks $(BENCH)
	$(BIN)/python -m benchmarks.import_time

clean:  ## remove what the other targets made
	rm -rf $(VENV) $(LOWEST) $(WHEEL) $(PEERS) .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist build
