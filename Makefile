# Which Python to build for: a name on PATH or a path, 3.10 to 3.13.
PYTHON ?= python3
# Where `make install` puts things: DESTDIR is prepended, for packagers.
PREFIX ?= /usr/local
DESTDIR ?=

export PYTHON

# A recipe that begins with $(env) has the virtualenv, the flags for cgo and the
# path of the binary for this PYTHON; $(dev_env) also has the tools of the tests.
env = exports=$$(scripts/environment) && eval "$$exports" &&
dev_env = exports=$$(scripts/environment --dev) && eval "$$exports" &&
# And the parts of a deployment, without which the tests that need them are skipped.
deployment = exports=$$(scripts/deployment) && eval "$$exports" &&

.DEFAULT_GOAL := help
.PHONY: help run build test e2e lint format bench bench-cluster install dist env clean
.NOTPARALLEL:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo '  PYTHON=python3.12 chooses a Python; scripts/environment says where its files go.'

run: build ## Build, then run the linear example
	@$(env) "$$TASKERPY" run examples/linear --task mathematical_sequence_py --input '{"even_number": 6}'

build: ## Build bin/taskerpy
	@$(env) echo "go build -o $$TASKERPY" && go build -o "$$TASKERPY" ./cmd/taskerpy

test: ## Run every check and every test
	@$(dev_env) scripts/check

e2e: ## Run the tests with a real Tasker deployment, fetching its parts
	@$(dev_env) $(deployment) scripts/e2e

lint: ## Run the checks that only read the sources
	@$(dev_env) scripts/check gofmt vet staticcheck ruff format mypy

format: ## Format Go and Python sources
	@$(dev_env) go list -f '{{.Dir}}' ./... | xargs -d '\n' gofmt -w && ruff check --quiet --fix . && ruff format --quiet .

bench: ## Run the benchmarks
	@$(dev_env) scripts/bench

bench-cluster: ## Measure workers of a real Tasker deployment, fetching its parts
	@$(dev_env) $(deployment) scripts/bench-cluster

install: build ## Install to DESTDIR/PREFIX (/usr/local)
	@$(env) scripts/install "$(DESTDIR)" "$(PREFIX)"

dist: build ## Pack dist/taskerpy-….tar.gz for machines with the same Python
	@$(env) scripts/dist

env: ## Print the variables for calling go by hand
	@scripts/environment --dev

clean: ## Remove what was built; keeps .venv
	rm -rf bin build dist .mypy_cache .ruff_cache .pytest_cache
