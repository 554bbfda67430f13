# The one truth for laptop and CI: .ci/run calls `make test` and nothing else.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# One at a time, for readable output: the go command uses every core by itself.
.NOTPARALLEL:

# Each module stands by itself: a workspace would hide a wrong require.
export GOWORK := off

# Every go.mod; the root's (.) comes first.
MODULES := $(sort $(patsubst %/go.mod,%,$(shell find . -name go.mod \
	-not -path '*/testdata/*' -not -path '*/node_modules/*')))
NESTED := $(filter-out .,$(MODULES))
# Those that applications import. The text of each is in api/.
API := . natslog redislog
# ./... skips folders that begin with an underscore, so _example is named.
PACKAGES := ./... $$([ ! -d _example ] || echo ./_example)
# Shuffled tests never come from the cache: each run is a real one.
TEST := go test -race -shuffle=on

# $(call each,MODULES,COMMAND) runs the command in the folder of each module.
each = @for dir in $(1); do (cd "$$dir"; echo "-- $$dir: $(2)"; $(2)); done

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile

# --- Tools: pinned in internal/tools/go.mod, built once into bin/ ------------

# One folder for each Go version: a linter built by an older Go cannot read what
# a newer one compiles.
BIN := $(CURDIR)/bin/$(shell go env GOVERSION)
# Debian keeps some servers in /usr/sbin, which is not in every user's PATH.
export PATH := $(BIN):$(PATH):/usr/sbin

$(BIN)/%: internal/tools/go.mod internal/tools/go.sum
	@echo "-- building $*"
	@cd internal/tools && CGO_ENABLED=0 go build -o $@ "$$(go list tool | grep '/$*$$')"
	@touch $@

$(BIN)/apitext: $(wildcard internal/tools/apitext/*.go)

# --- The checks, cheap ones first --------------------------------------------

CHECKS := fmt-check tidy-check build vet fix-check lint api-check unit fuzz nested gate

.PHONY: test $(CHECKS)
test: $(CHECKS) ## Run every check and every test, as CI does
	@echo "== make test: all passed: $(CHECKS)"

fmt-check: $(BIN)/gofumpt
	@echo "== gofumpt"
	@files=$$(gofumpt -l .); [ -z "$$files" ] || \
		{ echo "not formatted, run make fmt:"; echo "$$files"; exit 1; }

tidy-check:
	@echo "== go mod tidy"
	$(call each,$(MODULES),go mod tidy -diff)

# Without -o, a module with one command would leave its binary behind. The files
# of the library that are not for Linux are compiled too.
build:
	@echo "== build"
	$(call each,$(MODULES),go build -o /dev/null $(PACKAGES))
	$(call each,.,GOOS=windows go build ./...)

vet:
	@echo "== go vet"
	$(call each,$(MODULES),go vet $(PACKAGES))

fix-check:
	@echo "== go fix (to apply a diff: go fix ./... in that folder)"
	$(call each,$(MODULES),go fix -diff $(PACKAGES))

lint: $(BIN)/golangci-lint ## Lint every module
	@echo "== golangci-lint"
	$(call each,$(MODULES),golangci-lint run --config $(CURDIR)/.golangci.yml $(PACKAGES))

api-check: api-texts ## Compare the exported API with api/
	@diff -ru -F '^package\|^type' api bin/api || { echo "The exported API has changed (a line with + is new)." \
		"If you want that, run make api and commit what it changes."; exit 1; }

.PHONY: api-texts
api-texts: $(BIN)/apitext
	@echo "== the exported API"
	@rm -rf bin/api; mkdir -p bin/api
	@for dir in $(API); do (cd $$dir; apitext ./...) >bin/api/$${dir/#./ssegin}.txt; done

unit: ## Test the root module and the example
	@echo "== tests"
	$(call each,.,$(TEST) $(PACKAGES))

# The default counts executions instead of seconds: in Go 1.26 the end of a time
# limit can be reported as a failure (go.dev/issue/75804).
fuzz: FUZZTIME ?= 200000x
fuzz: ## Fuzz each target (FUZZTIME=1m or =1000000x)
	@echo "== fuzzing"
	@for dir in . natslog; do (cd $$dir; go test -list '^Fuzz' ./... | awk '/^Fuzz/ { name[n++] = $$1 } \
		/^ok/ { for (i = 0; i < n; i++) print $$2, name[i]; n = 0 }' | while read -r package name; do \
		echo "-- $$name"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$package" </dev/null || exit 1; \
	done) || exit 1; done

nested: $(if $(wildcard e2e/go.mod),e2e-deps) $(if $(wildcard bench/go.mod),bench-deps)
	@echo "== tests of the nested modules"
	$(call each,$(NESTED),$(TEST) ./...)

# Without -race, which allocates by itself.
GATE := go test -count=1 -v -run '^TestGate' ./gate
gate: ## Compare allocations, writes and memory with the recorded figures
	@echo "== the gate on counts"
	$(call each,bench,$(GATE))

# --- Working -----------------------------------------------------------------

.PHONY: quick api run cluster fmt tidy cover vuln
# Without -race and -shuffle: what has not changed comes from the cache.
quick: fmt-check ## Check the root module in a minute: format, vet, the quick tests without -race
	$(call each,.,go vet $(PACKAGES))
	$(call each,.,go test -short $(PACKAGES))

api: api-texts ## Renew api/, the exported API of each module, for a change that you want
	@rm -rf api; cp -r bin/api api; git diff --stat -- api

run: ## Start the example
	go run ./_example

cluster: ## Start three processes on one log, and a button that kills the one that serves you
	$(call each,natslog,go run ./_example)

fmt: $(BIN)/gofumpt $(BIN)/golangci-lint ## Format all Go files
	gofumpt -w .
	golangci-lint fmt .

tidy: ## Tidy every go.mod
	$(call each,$(MODULES),go mod tidy)

cover: ## Show the root module's test coverage (coverage.out)
	go test -coverpkg=./... -coverprofile=coverage.out ./...
	go tool cover -func=coverage.out | tail -n 1

# Not a part of make test: the database of vulnerabilities lives on the network.
vuln: $(BIN)/govulncheck ## Look for known vulnerabilities (needs the network)
	@for dir in $(MODULES); do (cd "$$dir"; echo "-- $$dir"; govulncheck ./...) || { code=$$?; \
		[ $$code = 3 ] || echo "govulncheck could not run: it needs its database" \
			"(from the network, or from the copy that GOVULNDB names)"; exit $$code; }; done

# --- Browsers, proxies, faults, benchmarks -----------------------------------

# Programs that tests start, each with :package where Debian's has another name.
E2E_PROGRAMS := apache2 caddy chromium firefox-esr haproxy nginx npm redis-server squid varnishd:varnish Xvfb:xvfb \
	/usr/lib/*/webkit2gtk-4.1/MiniBrowser:libwebkit2gtk-4.1-0 \
	/usr/lib/python3/dist-packages/requests:python3-requests \
	/usr/lib/python3/dist-packages/httpx:python3-httpx

.PHONY: e2e e2e-deps faults bench bench-quick bench-engines bench-go gate-renew
e2e: e2e-deps ## Test with real browsers and proxies, the short form
	$(call each,e2e,$(TEST) ./...)

e2e-deps: ## Install the programs that the e2e tests start, and the clients of npm
	@missing=$$(for p in $(E2E_PROGRAMS); do command -v $${p%:*} >/dev/null || [ -e $${p%:*} ] || echo -n "$${p#*:} "; done); \
	if [ -z "$$missing" ]; then exit; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "missing packages: $$missing"; \
		echo "install them (on Debian: sudo make e2e-deps) and try again"; exit 1; \
	fi; \
	echo "-- installing $$missing"; apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null
	$(call npm-ci,$(NPM_CLIENTS))

# The clients of npm. Their lock file pins a Node, too, for the newest of them need a
# newer one than Debian has; npm itself runs on any.
NPM_CLIENTS := e2e/clients/npm
# $(call npm-ci,FOLDER) installs what the lock file of a folder pins, unless it is there.
npm-ci = @cd $(1); cmp -s package-lock.json node_modules/installed || { \
	echo "-- npm ci in $(1)"; npm ci --silent --no-audit --no-fund --ignore-scripts; \
	cp package-lock.json node_modules/installed; }

faults: e2e-deps ## Run the long fault tests
	$(call each,. natslog redislog e2e,SSEGIN_LONG=1 $(TEST) -timeout 60m ./...)

# The peers that are no Go programs: Nchan in nginx, and better-sse on Node.
NCHAN := /usr/lib/nginx/modules/ngx_nchan_module.so
BETTER_SSE := bench/servers/better-sse

.PHONY: bench-deps
bench-deps: ## Install the peers that ssebench starts as programs of their own
	@missing=""; [ -e $(NCHAN) ] && command -v nginx >/dev/null || missing="nginx libnginx-mod-nchan"; \
	command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
			echo "missing packages: $$missing"; \
			echo "install them (on Debian: sudo make bench-deps) and try again"; exit 1; \
		fi; \
		echo "-- installing $$missing"; apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	fi
	$(call npm-ci,$(BETTER_SSE))

BENCHFLAGS ?= -out ../docs/performance
bench: ## Measure ssegin beside its peers, forty minutes (BENCHFLAGS=-list says what)
	$(call each,bench,go run ./cmd/ssebench $(BENCHFLAGS))

bench-quick: BENCHFLAGS := -quick
bench-quick: bench ## Measure a few of them for a minute

bench-engines: e2e-deps ## Measure several processes on one log, six minutes
	$(call each,bench,go run ./cmd/enginebench $(BENCHFLAGS))

gate-renew: ## Record the figures of the gate anew
	$(call each,bench,$(GATE) -update)

bench-go: $(BIN)/benchstat ## Run the Go benchmarks of the root module
	go test -run '^$$' -bench . -benchmem -count 6 ./... | tee bin/bench.txt
	benchstat bin/bench.txt
