# The two commands of a new user: `make demo` and `make test`. Everything is installed into .venv.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PROTOC := PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m grpc_tools.protoc -I protos
PROTOS := $(wildcard protos/loramill/v1/*.proto)
GROUP_FLAGS := --group store --group service --group trainer --group traces --group dev
BUILDER ?= $(firstword $(notdir $(shell command -v docker buildah)))
RERUNS ?= 0
ON_CLUSTER := LORAMILL_CLUSTER=$(CURDIR)/build/cluster/cluster.json nsenter --net=/var/run/netns/loramill \
	$(BIN)/python -m pytest --timeout=600 --durations=10 --reruns $(RERUNS) tests/cluster
BASE_ARGUMENT := $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE))

.PHONY: demo test check images cluster cluster-down test-cluster test-operations simulate-nodes install lock protos generate shapes clean

# Trains an adapter on the built-in base model, over gRPC, and shows what it learnt.
demo: install
	$(BIN)/python deploy/examples/demo/demo.py

# Builds the images loramill-service and loramill-trainer, with docker or buildah (docs/container-images.md).
images:
	$(BUILDER) build $(BASE_ARGUMENT) --target service --tag loramill-service .
	$(BUILDER) build $(BASE_ARGUMENT) --target trainer --tag loramill-trainer .

# Brings up Kubernetes with two nodes and two S3 servers on this machine; needs root (docs/cluster.md).
cluster: install
	$(BIN)/python -m deploy.cluster up

# Passes the tests that need a real cluster and a real store, from inside the cluster's network, but for those of test-operations.
test-cluster: cluster
	$(ON_CLUSTER) -m "not disturbing and not operations"
	$(ON_CLUSTER) -m disturbing -n0

# Every right of the chart taken away, dashboards on a real Prometheus, nodes that come and go: half an hour, and more the first time.
test-operations: cluster
	$(BIN)/python -m deploy.cluster build --for-tests
	$(ON_CLUSTER) -m operations -n0

# 200 jobs on simulated GPU nodes that a real autoscaler buys and returns, beside whatever runs; needs root (docs/nodes.md).
simulate-nodes: install
	$(BIN)/python -m bench.nodes

# Removes every trace of it but the caches.
cluster-down: install
	$(BIN)/python -m deploy.cluster down

# Passes the checks and the tests.
test: check
	$(BIN)/python -m pytest

# Architecture, types, style, contract, generated code: what every commit is held to.
check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/buf lint
	rm -rf .venv/generated && $(MAKE) --no-print-directory OUT=.venv/generated generate
	diff -r -x __pycache__ -x __init__.py .venv/generated/loramill/v1 client/loramill/v1

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable . $(GROUP_FLAGS)
	touch $@

# Writes the messages and stubs again after a change of protos/.
protos: install
	rm -f client/loramill/v1/*_pb2*
	$(MAKE) --no-print-directory OUT=client generate

generate:
	mkdir -p $(OUT)
	$(PROTOC) --python_out=$(OUT) --mypy_out=quiet:$(OUT) $(PROTOS)
	$(PROTOC) --grpc_python_out=$(OUT) --mypy_grpc_out=quiet:$(OUT) $(filter %_service.proto,$(PROTOS))

# Resolves constraints.txt again after a change of pyproject.toml.
lock: install
	$(BIN)/uv pip compile --quiet --universal --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		pyproject.toml $(GROUP_FLAGS) --output-file constraints.txt

# Makes the built-in base model anew, in about an hour on two cores; a stopped run goes on.
shapes: install
	$(BIN)/python -m trainer.builtin.shapes.make --out trainer/builtin/shapes/base

clean:
	rm -rf .venv build
