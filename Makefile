# Everything that a developer calls. `make` alone lists it.
PYTHON  ?= $(shell command -v python3.11 || command -v python3)
VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
DEFAULT := serverlessargo-registry.cn-hangzhou.cr.aliyuncs.com/argo-workflow-examples/python:3.11-amd
IMAGE   ?= $(DEFAULT)
SHELL   := /bin/bash
# What a build says of the commit that it is made of; without git it says nothing.
COMMIT   = $(shell git log -1 --format='--build-arg REVISION=%H --build-arg SOURCE_DATE_EPOCH=%ct' 2> /dev/null) \
           $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format='--build-arg CREATED=%cd' 2> /dev/null)

# What `make demo` ends with.
define NEXT
'' 'What to try next:' \
'  $(BIN)/python worker/pipeline.py --root /tmp/aggregation-demo --prepare --keep' \
'      the same in a folder that stays, with its levels: runs/*/l2, runs/*/l3' \
'  $(BIN)/python worker/pipeline.py --root /tmp/aggregation-demo --command "sort -u {inputs}"' \
'      a merge of your own: the letters that there are, a line each (docs/command.md)' \
'  make oss-server      the same on OSS, on this machine (docs/oss.md)' \
'  make image           the image, for docker and for Argo (docs/docker.md, docs/argo.md)'
endef

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs image tools push expand bench fuzz mutants audit e2e oss-server lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/run ## Run the tutorial's pipeline, 32 files, on a temporary directory, and show the tree and the result
	@root=$$(mktemp -d) && trap 'rm -rf "$$root"' EXIT && $(BIN)/python worker/pipeline.py --root "$$root" --prepare
	@printf '%s\n' $(NEXT)

test: $(VENV)/dev ## Check the code and run all tests; those that need what this machine lacks are skipped, and say so
	$(MAKE) --no-print-directory lint
	$(BIN)/pytest -n auto --dist loadgroup

lint: $(VENV)/dev ## Check style, types, which folder imports which, and lengths
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=worker $(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python tests/support/lengths.py worker manifests

docs: $(VENV)/dev ## Write the pages' tables and drawings anew, from the code and what was measured
	@$(BIN)/python tests/support/pages

image: ## Build the image, under the name that the tutorial's workflow asks for (IMAGE=...)
	docker build --platform linux/amd64 --target worker $(COMMIT) --tag "$(IMAGE)" .

tools: ## Build the image with the programs of docs/recipes.md: ffmpeg, GDAL, osmium (IMAGE=registry.example.com/team/tools:0.2.0)
	docker build --platform linux/amd64 --target tools $(COMMIT) --tag "$(if $(filter $(DEFAULT),$(IMAGE)),aggregation-tools,$(IMAGE))" .

push: ## Build the image, push it to a registry of yours and print its digest (IMAGE=registry.example.com/team/worker:0.2.0)
	@[ "$(IMAGE)" != "$(DEFAULT)" ] || \
	  { echo "make: push needs a name in a registry of yours: make push IMAGE=registry.example.com/team/worker:0.2.0" >&2; exit 1; }
	@$(MAKE) --no-print-directory image
	docker push "$(IMAGE)"
	@name=$$(sed 's|:[^/:]*$$||; s|^docker\.io/||' <<< "$(IMAGE)") && \
	  docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$(IMAGE)" | grep "^$$name@"

expand: $(VENV)/dev ## Show the commands of a workflow's pods, without a cluster (WORKFLOW="process-data.yaml -p numbers=50")
	@$(BIN)/python tests/support/workflows manifests/$(or $(WORKFLOW),process-data.yaml)

bench: $(VENV)/bench ## Measure the worker beside its rivals (BENCH="--quick", or some of its cases: BENCH="shapes")
	@$(BIN)/python tests/benchmarks $(BENCH)

fuzz: $(VENV)/dev ## Try texts, files, answers and orders of steps that nobody thought of, for ten minutes (FUZZ=30, times as many as in CI)
	FUZZ=$(or $(FUZZ),30) $(BIN)/pytest -q -n auto tests/fuzz

mutants: $(VENV)/dev ## Break the worker line by line, and see that a test fails for each (MUTANTS="oss", or other words of their names)
	@$(BIN)/python tests/mutants $(MUTANTS)

audit: $(VENV)/audit ## Ask for known vulnerabilities of the packages that are locked, the worker's and the tests'
	@$(BIN)/python .ci/audit.py $(BIN)/pip-audit requirements.txt requirements-build.txt requirements-dev.txt

e2e: $(VENV)/dev ## Run the manifests on the cluster of the current kube context (E2E="--image ...")
	@$(BIN)/python tests/e2e $(E2E)

oss-server: $(VENV)/run ## Start a server that speaks OSS on 127.0.0.1:9000, for play; Ctrl-C stops it
	@$(BIN)/python tests/support/oss_server --port 9000

lock: $(VENV)/run ## Compile requirements*.txt from requirements*.in, with hashes
	$(BIN)/python -m pip install --quiet uv
	for name in requirements-build requirements requirements-dev requirements-bench requirements-audit; do \
	  $(BIN)/uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	    --no-header --no-emit-index-url $$name.in --output-file $$name.txt || exit 1; \
	done

clean: ## Remove the virtual environment and the tools' caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/run: requirements-build.txt requirements.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "make: Python 3.11 is needed: install it, or name it with PYTHON=/path/to/python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(PIP) -r requirements-build.txt
	$(PIP) --no-build-isolation --use-pep517 -r requirements.txt
	@touch $@

$(VENV)/dev: $(VENV)/run requirements-dev.txt
	$(PIP) -r requirements-dev.txt
	@touch $@

$(VENV)/bench: $(VENV)/dev requirements-bench.txt
	$(PIP) -r requirements-bench.txt
	@touch $@

$(VENV)/audit: $(VENV)/run requirements-audit.txt
	"$(PYTHON)" -m venv $(VENV)/auditing
	$(VENV)/auditing/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-audit.txt
	@ln -sf ../auditing/bin/pip-audit $(BIN)/pip-audit
	@touch $@
