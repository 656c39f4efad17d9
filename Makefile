# Karri. `make help` lists what there is.

SHELL := /bin/bash
# One set of flags for build, tests and CI: with others every dependency would be compiled anew.
export CGO_ENABLED := 0
export GOFLAGS := -buildvcs=false -trimpath
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TOOL := go tool -modfile=tools/go.mod

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

deps: ## install what is missing from Debian's packages (root)
	@scripts/deps

check-go:
	@scripts/check-go

build: check-go ## compile bin/karri, one static binary
	go build -ldflags '-s -w -X karri.dev/internal/version.Version=$(VERSION)' -o bin/karri ./cmd/karri

demo: deps build ## start a cloud, launch a guest with the aws CLI, log in, clean up (root)
	@scripts/demo

test: build ## everything that CI runs (root)
	@scripts/deps test
	@scripts/test

debian: build ## the Debian image: build it, launch it, ask its cloud-init (root; some minutes without KVM)
	@test/debian

fmt: ## format the Go code
	$(TOOL) gofumpt -l -w cmd internal test

generate: ## make the AWS shapes and docs/operations.md anew
	go generate ./internal/aws/...
	go run ./cmd/karri operations --markdown > docs/operations.md

bench: build ## rerun the benchmarks behind the figures in docs/performance.md
	@test/bench/run

clean: ## remove what was built
	rm -rf bin

.PHONY: help deps check-go build demo test debian fmt generate bench clean
