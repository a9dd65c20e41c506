# `make test` installs from apt what the tests need, where it can, and says what
# it skipped where it cannot; with CI=true a missing part is a failure.
GO ?= go
LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
E2E = ./cmd/thunderdb/e2e

.PHONY: build test e2e soak check fmt lint bench fuzz tools

build: # the static binary, bin/thunderdb
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/thunderdb ./cmd/thunderdb

test: tools # everything but what takes minutes, with the race detector
	$(GO) test -race ./...

e2e: tools # a network cut for longer than gossip remembers; the image and the compose file
	$(GO) test -tags long -count 1 -run 'Partition|Compose' -timeout 10m -v $(E2E)

FAULTS = Kill|Paused|Rolling|JoinAndLeave|EmptyDisk|Forgotten|TwoJoin|JoinerDies|Partition|Lost
soak: tools # each fault under load for THUNDERDB_SOAK (3m), a million records that move; many seeds; larger full disks
	NODETEST_ROUNDS=50 $(GO) test -race -count 1 -run 'Histories$$|AnyFaults' -timeout 60m ./node/nodetest
	$(GO) test -count 1 -run FullDisk -v ./kv/pebblekv
	$(GO) test -tags long -count 1 -run '$(FAULTS)' -parallel 1 -timeout 2h -v $(E2E)

check: fmt lint build test e2e # what CI runs

fmt:
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "run gofmt -w on: $$files"; exit 1; }
	$(GO) mod tidy -diff

lint:
	$(GO) vet -tags long ./...
	$(GO) run $(LINT) run --build-tags long ./...

bench: tools # speed, as ratios taken in one run
	$(GO) test -run '^$$' -bench . -benchtime 1s -timeout 30m ./kv/... ./ring ./node/... ./httpapi
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 30m $(E2E)

fuzz: # each fuzz target for half a minute
	@for f in $$(grep -rl '^func Fuzz' --include='*_test.go' .); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\).*/\1/p' $$f); do \
			$(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime 30s ./$$(dirname $$f) || exit 1; done; done

# What tests and benchmarks run, and the Debian packages that it is in.
TOOLS = curl:curl bash:bash ip:iproute2 nft:nftables busybox:busybox-static redis-server:redis-server memcached:memcached
bench: TOOLS = wrk:wrk ab:apache2-utils redis-server:redis-server memcached:memcached

tools:
	@missing=$$(for t in $(TOOLS); do command -v $${t%%:*} >/dev/null || echo $${t##*:}; done); \
	[ -z "$$missing" ] || .ci/install $$missing || echo "not installed, so some of it is skipped:" $$missing
