# Ackwire. `make help` lists all targets; `make run` and `make test` are enough to begin with.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MODULES  := . blobs embedded examples examples/embedded gateway internal internal/api internal/command internal/kafkatest loadtest mskiam processor processor/cmd schemas tracker
# Modules that are not in go.work, so that the others do not depend on what they need.
ALONE    := internal/tools internal/tools/golangci deploy/otel/collector loadtest/peers
# A pattern stops at the next go.mod: ./... is only the client's module.
PACKAGES := ./... $(addprefix ./,$(addsuffix /...,$(filter-out .,$(MODULES))))
# With this tag franz-go's mutexes are channels. Simulations need that: a goroutine that waits for a
# sync.Mutex stops the clock of a testing/synctest bubble.
TESTTAGS := synctests
TOOLS    := $(CURDIR)/internal/tools

# Tools are built from internal/tools, whose go.mod pins their versions.
bin/gotestsum: TOOL := gotest.tools/gotestsum
bin/govulncheck: TOOL := golang.org/x/vuln/cmd/govulncheck
bin/licences: TOOL := ./licences
bin/licences: $(wildcard $(TOOLS)/licences/*.go)
bin/gotestsum bin/govulncheck bin/licences: $(TOOLS)/go.mod
	@mkdir -p bin
	GOWORK=off go build -C $(TOOLS) -o $(CURDIR)/$@ $(TOOL)
	@touch $@

# golangci-lint with this project's own rules; the first build takes minutes.
bin/golangci-lint: $(TOOLS)/golangci/go.mod $(wildcard $(TOOLS)/golangci/*.go $(TOOLS)/golangci/house/*.go)
	@mkdir -p bin
	GOWORK=off go build -C $(TOOLS)/golangci -o $(CURDIR)/$@ .
	@touch $@

help: ## List all targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build every command into bin/
	@mkdir -p bin
	CGO_ENABLED=0 go build -o bin/ ./embedded/cmd/... ./gateway/cmd/... ./tracker/cmd/... ./processor/cmd/... ./loadtest/cmd/...

# The settings of the build in `make run`, which make the first one shorter (make measure-start). Without cgo, as in the
# images, Pebble uses a zstd in Go: the one in C takes 50 CPU seconds to compile. Without the workspace, only the go.mod
# files that this module needs are downloaded, a third of all.
QUICK := CGO_ENABLED=0 GOWORK=off

run: ## Start the whole system in one process, on the embedded broker
	@test -x bin/ackwire || echo "Building ackwire; the first time takes one to two minutes, and later a second."
	@mkdir -p bin
	@$(QUICK) go build -C embedded -o ../bin/ackwire ./cmd/ackwire
	@exec bin/ackwire serve

# For measure-start.sh.
quick-build:
	@echo "$(QUICK)"

measure-start: ## Measure git clone to the first answer, beside a build of franz-go and Pebble
	deploy/ci/measure-start.sh

test: bin/gotestsum ## Run all tests with the race detector; with Docker, container tests, too
	@deploy/ci/what-runs.sh
	@bin/gotestsum --format pkgname --format-hide-empty-pkg -- -race -tags $(TESTTAGS) -timeout 40m $(TESTFLAGS) $(PACKAGES)
	@go test -count=1 -run NoAllocation ./gateway/outbox # the race detector allocates
	@go test -count=1 -run FewAllocations ./schemas/codec ./schemas/event ./schemas/job
	@deploy/ci/js.sh test-if-node

js: ## Build and check the JavaScript client; needs Node 20 with npm
	@deploy/ci/js.sh check

js-test: ## Build and test the JavaScript client, also in Chromium if there is one
	@deploy/ci/js.sh test

mutants: ## Remove the lifecycle's rules, one at a time, and check that a scenario fails for each
	deploy/ci/mutants.sh

model: ## Explore large models of a job's life with the real rules; takes up to half an hour
	ACKWIRE_MODEL=large go test -count=1 -timeout 2h -run TestNothingBreaks -v ./tracker/fold/model

bench: build ## Measure Ackwire and plain Kafka side by side, as ratios, in one run
	bin/loadtest bench

bench-kafka: ## The same on a real Kafka, over plaintext and over TLS with SCRAM; needs Docker
	go test -run '^$$' -bench FloorOnKafka -benchtime 1x -timeout 30m -tags $(TESTTAGS) ./embedded/process

peers: build ## Measure Ackwire, River on PostgreSQL and Asynq on Redis side by side; needs their servers' binaries
	GOWORK=off go build -C loadtest/peers -o $(CURDIR)/bin/peers .
	loadtest/peers/run.sh

bench-storm: build ## Have 10,000 sockets reconnect at once
	bin/loadtest bench storm

images: ## Build the images of all services, for Docker and docker-compose.yml
	deploy/images/build.sh
	deploy/images/others.sh core

images-observe: ## Pull or build the images of the profile observe, except Grafana's
	deploy/images/others.sh observe

test-images: bin/gotestsum images images-observe ## Build and test the images; needs Docker
	@ACKWIRE_TEST_IMAGES=1 bin/gotestsum --format testname -- -count=1 -timeout 15m $(TESTFLAGS) ./embedded/docker

image-kafka: ## Build the Kafka image of the container tests from published packages
	deploy/kafka/build-image.sh

release: check test ## After make vuln: commit and tag VERSION=v1.2.3 of all modules, with notes from CHANGELOG.md; pushes nothing
	@echo "release: make vuln, which needs vuln.go.dev, comes before this and is not run here (CONTRIBUTING.md)"
	@cd $(TOOLS) && GOWORK=off go run ./release -C $(CURDIR) -version "$(VERSION)"

check: check-format check-lint check-generated check-tidy check-imports check-tools check-peers ## Run all checks that must pass before a commit

# All modules, including those that are not in go.work.
check-format: bin/golangci-lint
	@bin/golangci-lint fmt --diff || { echo "not formatted (run make format)"; exit 1; }

format: bin/golangci-lint ## Format all code and sort its imports
	@bin/golangci-lint fmt

check-lint: bin/golangci-lint
	bin/golangci-lint run --allow-parallel-runners $(PACKAGES)

check-generated: generate
	@out=$$(git status --porcelain -- $(GENERATED)); test -z "$$out" || { echo "generated files were not up to date (commit them):"; echo "$$out"; exit 1; }

GENERATED := gateway/console/assets deploy/images/LICENSES.txt schemas/code/codes_gen.go schemas/code/codes.md clients/js/src/codes_gen.ts clients/js/src/problems_gen.ts schemas/trackerpb deploy/grafana/dashboards docs/configure.md docs/metrics.md

# The same packages and tags as in deploy/images/build.sh.
licences: bin/licences ## Write the licences of all code in the images
	@bin/licences -out deploy/images/LICENSES.txt -lock gateway/console/web/third/lock.json -tags timetzdata,disable_grpc_modules,grpcnotrace \
		./embedded/cmd/ackwire ./gateway/cmd/gateway ./tracker/cmd/tracker ./processor/cmd/processor ./loadtest/cmd/loadtest

vuln: bin/govulncheck ## Check the programs for calls of functions with known vulnerabilities; needs vuln.go.dev
	bin/govulncheck $(PACKAGES)

generate: licences ## Write the generated files
	@cd schemas/code && go generate ./...
	@cd internal/tools && GOWORK=off go run ./protogen -C ../../schemas/trackerpb tracker.proto
	@cd internal/tools && GOWORK=off go run ./console -C ../..
	@cd internal/tools && GOWORK=off go run ./dashboards -out ../../deploy/grafana/dashboards
	@deploy/ci/configure-doc.sh >docs/configure.md.new && mv docs/configure.md.new docs/configure.md
	@go run ./embedded/metricsdoc >docs/metrics.md.new && mv docs/metrics.md.new docs/metrics.md

dashboard-pictures: ## Draw the pictures of the dashboards for the documentation, from a running system
	ACKWIRE_PICTURES=$(CURDIR)/docs/dashboards go test -count=1 -timeout 15m -run TestPicturesOfTheDashboards -v ./embedded/process

check-tidy:
	@for m in $(MODULES) $(ALONE); do (cd $$m && GOWORK=off go mod tidy -diff >/dev/null) || { echo "$$m/go.mod is not tidy (run go mod tidy there)"; exit 1; }; done
	@for m in $(MODULES); do (cd $$m && GOWORK=off go build -o /dev/null ./...) || { echo "$$m does not build on its own"; exit 1; }; done

# Only in packages that have the test, so that others need not be built.
check-imports:
	@out=$$(go test -run '^TestImports$$' -count=1 $$(grep -rl --include=*_test.go 'func TestImports(' . | xargs -n1 dirname | sort -u)) || { echo "$$out"; exit 1; }

# Tests of the tools, whose modules are not in go.work.
check-tools:
	@cd $(TOOLS) && GOWORK=off go test ./...
	@cd $(TOOLS)/golangci && GOWORK=off go test ./house

# Vets and tests what compares Ackwire with others, without their servers.
check-peers:
	@cd loadtest/peers && GOWORK=off go vet ./... && GOWORK=off go test ./...

tidy: ## Tidy every module
	@go work sync
	@for m in $(MODULES) $(ALONE); do (cd $$m && GOWORK=off go mod tidy) || exit 1; done

.PHONY: help build run quick-build measure-start test js js-test mutants model bench bench-kafka peers bench-storm images images-observe test-images image-kafka check format licences vuln generate dashboard-pictures tidy check-format check-lint check-generated check-tidy check-imports check-tools check-peers
