# Every target works on every module of the repository.
MODULES := $(patsubst %/,%,$(dir $(shell find . -name go.mod -not -path './.*' -not -path '*/node_modules/*')))
GO      ?= go
BIN     := $(CURDIR)/.bin

GOFUMPT      := mvdan.cc/gofumpt@v0.12.0
STATICCHECK  := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCI     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK  := golang.org/x/vuln/cmd/govulncheck@v1.9.0

FUZZTIME ?= 10s
ROUNDS   ?= 6
SAMPLES  ?= 2000

.PHONY: help test vet lint tools tidy fuzz bench timing audit cover vuln run

help: ## Show this help.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

test: vet ## Run the tests of all modules with the race detector.
	@for m in $(MODULES); do echo "== $$m"; (cd $$m && $(GO) test -race -shuffle=on ./...) || exit 1; done

vet: ## Run go vet on all modules.
	@for m in $(MODULES); do (cd $$m && $(GO) vet ./...) || exit 1; done

lint: tools tidy ## Check format, style and common mistakes in all modules.
	@out=$$($(BIN)/gofumpt -l .); if [ -n "$$out" ]; then echo "gofumpt: $$out"; exit 1; fi
	@for m in $(MODULES); do echo "== $$m"; (cd $$m && $(GO) vet ./... && $(BIN)/staticcheck ./... && $(BIN)/golangci-lint run --config $(CURDIR)/.golangci.yml ./...) || exit 1; done

tools: ## Install the linters, in .bin, at fixed versions.
	@for t in $(GOFUMPT) $(STATICCHECK) $(GOLANGCI); do \
		name=$$(basename $${t%@*}); \
		if [ ! -x $(BIN)/$$name-$${t##*@} ]; then \
			echo "installing $$t"; GOBIN=$(BIN) $(GO) install $$t && ln -sf $$name $(BIN)/$$name-$${t##*@} || exit 1; \
		fi; \
	done

tidy: ## Fail if go mod tidy would change a module.
	@for m in $(MODULES); do (cd $$m && $(GO) mod tidy -diff) || exit 1; done

fuzz: ## Fuzz every target for FUZZTIME (10s).
	@for m in $(MODULES); do (cd $$m && for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; done) || exit 1; done

bench: ## Run the benchmarks ROUNDS (6) times; what it takes over loopback and beside peers is in internal/bench.
	@for i in $$(seq $(ROUNDS)); do for m in $(filter-out internal/bench ./internal/bench,$(MODULES)); do (cd $$m && $(GO) test -run '^$$' -bench . -benchmem ./...) || exit 1; done; done | tee bench.txt
	@cd internal/bench && $(GO) run ./report -rounds $(ROUNDS) && $(GO) run ./stack && $(GO) run ./redis -rounds $(ROUNDS)

timing: ## Measure logins under load, and whether their time tells why one was refused (10 minutes, on a quiet machine).
	@$(GO) run ./internal/timing -samples $(SAMPLES)

audit: ## Run scanners (nmap, sslscan, testssl, wapiti, slowhttptest) against the quickstart; the report is scan.txt.
	@$(GO) run ./internal/scan

cover: ## Measure the statement coverage of the main module.
	@$(GO) test -coverprofile=cover.out -coverpkg=$$($(GO) list ./... | grep -v -e /examples/ -e storetest -e /internal/vectors -e /internal/conformance -e /internal/eventlog -e /internal/timing -e /internal/scan | paste -sd, -) ./... > /dev/null
	@$(GO) tool cover -func=cover.out | tail -1

vuln: ## Look the dependencies up in the Go vulnerability database.
	@for m in $(MODULES); do (cd $$m && $(GO) run $(GOVULNCHECK) ./...) || exit 1; done

run: ## Run the quickstart.
	@$(GO) run ./examples/quickstart
