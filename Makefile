# The two commands of this project are `make demo` and `make test`; `make help` lists all.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Flags of the program that a target runs: make demo ARGS=--keep
ARGS ?=
# What `make proto` and `make docs` may write: 1 for what is compatible, `breaking` for anything.
UPDATE ?= 1

TRADEWIND = $(or $(CARGO_TARGET_DIR),target)/release/tradewind
# For the shell of a recipe: the line ends here when no nats-server can be had.
WITH_NATS_SERVER = NATS_SERVER="$$(scripts/nats-server)" && export NATS_SERVER &&
# nextest does not run the examples in the documentation, and its summary is what is to stand at the end.
RUN_TESTS = $(if $(shell cargo nextest --version 2>/dev/null),\
  cargo test --workspace --doc --quiet && cargo nextest run --workspace,\
  cargo test --workspace)

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: nats-server release ## Run a day of trade on this machine and report on it; ARGS=--keep leaves it running.
	@$(WITH_NATS_SERVER) $(TRADEWIND) demo $(ARGS)

.PHONY: bench
bench: nats-server release ## Measure this machine, in about 12 minutes; ARGS="--quick --on r1-sqlite" takes one.
	@$(WITH_NATS_SERVER) $(TRADEWIND) bench $(ARGS)

.PHONY: failover
failover: nats-server release ## Kill and stop servers of a cluster while orders come; ARGS="--kills 5 --hangs 2" is a short run.
	@$(WITH_NATS_SERVER) $(TRADEWIND) failover $(ARGS)

.PHONY: test
test: cargo lints nats-server ## Check the formatting, run clippy with warnings denied, and run all tests.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(WITH_NATS_SERVER) $(RUN_TESTS)

.PHONY: proto
proto: cargo ## Take proto/ over into proto/committed.binpb, if it is compatible; UPDATE=breaking takes over anything.
	UPDATE_COMMITTED_PROTO=$(UPDATE) cargo test --package events --test compatibility -- --exact proto_keeps_what_was_committed

.PHONY: docs
docs: cargo nats-server ## Write docs/events.md, asyncapi.json and openapi.json anew, from proto/, the routes and a run; UPDATE=breaking also what breaks their readers.
	@$(WITH_NATS_SERVER) UPDATE_DOCS=1 cargo test --package tests --test it contract_docs
	@$(WITH_NATS_SERVER) UPDATE_DOCS=1 cargo test --package tests --test it http_api::examples
	@UPDATE_DOCS=$(UPDATE) cargo test --package gateway openapi

.PHONY: release
release: cargo
	cargo build --release --package tradewind

# What the targets above need. It is looked for before the first minute of building, and named with its fix.
.PHONY: cargo
cargo:
	@command -v cargo >/dev/null || \
	  { echo "make: cargo is missing. Fix: install Rust (rustup.rs) and open a new shell." >&2; exit 1; }

.PHONY: lints
lints: cargo
	@for tool in fmt clippy; do cargo $$tool --version >/dev/null 2>&1 || \
	  { echo "make: cargo $$tool is missing. Fix: rustup component add rustfmt clippy" >&2; exit 1; }; done

.PHONY: nats-server
nats-server:
	@scripts/nats-server >/dev/null
