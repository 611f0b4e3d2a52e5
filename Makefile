# `make` lists the targets. Nothing here needs more than Rust; Postgres and Redis are used where they are found.

.DEFAULT_GOAL := help
.PHONY: help setup dev test test-one lint fmt check migrate openapi docs bench bench-jobs bench-ai bench-webhooks bench-usage bench-sockets chaos fuzz chat purchase realtime without

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Fetch and build everything once
	cargo build --all-targets

dev: ## Serve on port 8000 (SQLite, no services)
	cargo run

test: ## All tests, on SQLite and on Postgres and Redis where they are found
	cargo test

test-one: ## One test: make test-one t=projects::sqlite
	cargo test --test it $(t)

lint: ## Clippy, warnings denied
	cargo clippy --all-targets -- -D warnings

fmt: ## Format
	cargo fmt

check: ## What CI checks before the tests
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

migrate: ## Bring the database up to date
	cargo run -- migrate

openapi: ## Write the OpenAPI document to openapi.json
	cargo run -q -- openapi > openapi.json

docs: ## Make the generated parts of .env.example and docs/ anew
	UPDATE_DOCS=1 cargo test --test it docs::

bench: ## Measure a release build against a bare axum and sqlx server, on SQLite and Postgres
	cargo bench --bench http

bench-jobs: ## Measure what the job queue carries, on SQLite and Postgres
	cargo bench --bench jobs

bench-ai: ## Measure what the AI gateway adds to a vendor's time, and the memory of 1,000 streams
	cargo bench --bench http -- --ai

bench-webhooks: ## Measure how many signed events are recorded and applied per second, on SQLite and Postgres
	cargo bench --bench http -- --webhooks

bench-usage: ## Measure what it costs to count usage, on SQLite and Postgres
	cargo bench --bench http -- --usage

bench-sockets: ## Measure ten thousand WebSockets: memory, one message to all, waves of reconnects
	cargo bench --bench http -- --sockets

chaos: ## Kill the service 100 times at work on each engine: what was promised happens all the same
	CHAOS_KILLS=100 cargo test --test it -- --nocapture chaos:: process::webhooks::

fuzz: ## Fuzz the API with schemathesis, 10 minutes as a user and 10 as an administrator
	scripts/fuzz.sh

chat: ## Check the chat page of docs/examples: its types, and in headless Chromium
	scripts/chat.sh

purchase: ## Click a purchase in headless Chromium, against the look-alike of Stripe
	scripts/purchase.sh

realtime: ## Check the realtime clients of docs/examples, against two instances in Node and headless Chromium, and hostile frames
	scripts/realtime.sh

without: ## Prove that a component can be removed: make without c=projects, or c=--all
	scripts/without.sh $(c)
