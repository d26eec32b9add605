# kwokctl. `make help` lists the targets.

VERSION   ?= v0.1.0
GOOS      ?= $(shell go env GOOS)
GOARCH    ?= $(shell go env GOARCH)
PLATFORMS := linux/amd64 linux/arm64 darwin/arm64 windows/amd64

# Kubernetes is compiled once, for the binary and for the end-to-end tests alike: same flags, same cache.
BUILD   := CGO_ENABLED=0 go build -trimpath -buildvcs=false
E2E     := CGO_ENABLED=0 go test -trimpath -buildvcs=false
# Kubernetes reports the version that the linker writes into it.
KUBE    := k8s.io/component-base/version
CLIENT  := k8s.io/client-go/pkg/version
LDFLAGS := -s -w -X main.version=$(VERSION) -X kwokctl/internal/controller.version=$(VERSION) \
	-X $(KUBE).gitVersion=v1.36.3 -X $(KUBE).gitMajor=1 -X $(KUBE).gitMinor=36 -X $(KUBE).gitTreeState=clean \
	-X $(KUBE).buildDate=1970-01-01T00:00:00Z -X $(CLIENT).gitVersion=v1.36.3
BINARY  ?= bin
BENCH   ?= .
LIGHT   = $(shell go list ./... | grep -v -e /internal/applet -e /internal/e2e -e /cmd/kwokctl -e /platforms)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## make bin/kwokctl and bin/kwok for this machine
	GOOS=$(GOOS) GOARCH=$(GOARCH) $(BUILD) -ldflags '$(LDFLAGS)' -o $(BINARY)/ ./cmd/kwokctl ./cmd/kwok

.PHONY: demo
demo: build ## create a cluster, give it nodes and pods, look at them, delete it
	@set -e; export KWOK_WORKDIR=$$(mktemp -d); export KUBECONFIG=$$KWOK_WORKDIR/kubeconfig; \
	trap 'bin/kwokctl delete cluster --all; rm -rf "$$KWOK_WORKDIR"' EXIT; trap 'exit 130' HUP INT TERM; \
	run() { echo; echo "$$ $$*"; "$$@"; }; \
	PATH=$$PWD/bin:$$PATH; \
	run kwokctl create cluster --name demo --wait 60s; \
	run kwokctl scale node --replicas 3 --name demo; \
	run kwokctl --name demo kubectl create deployment web --image nginx --replicas 20; \
	run kwokctl --name demo kubectl wait deployment web --for condition=Available --timeout 60s; \
	run kwokctl --name demo kubectl get nodes,deployments; \
	run kwokctl get components --name demo -o wide; echo

.PHONY: test
test: ## run all tests: fast ones with the race detector, then end to end on real clusters
	go test -race $(LIGHT)
	$(E2E) -ldflags '$(LDFLAGS)' -p 1 -parallel 2 -timeout 80m ./internal/applet ./internal/e2e

.PHONY: bench
bench: build ## measure, and print tables; BENCH=Launcher, Containers, Engine, Memory or Snapshot for one of them
	$(E2E) -ldflags '$(LDFLAGS)' -timeout 90m -run '^$$' -bench '$(BENCH)' -benchtime 1x ./internal/e2e

SOAK ?= 20
SCALE ?= 1
.PHONY: soak
soak: ## run what must work every time $(SOAK) times, or long, at SCALE of the full size
	$(E2E) -ldflags '$(LDFLAGS)' -p 1 -parallel 1 -timeout 240m -v -run 'TestOrderedStatefulSet|TestPowerLoss|TestRestoreKilled|TestFlapHeals|TestNodesStayReady|TestTiming|TestControllerKilled|TestServerKilledUnderLoad|TestStagesLive' ./internal/e2e -soak $(SOAK) -scale $(SCALE)

.PHONY: lint
lint: ## gofmt and vet; staticcheck where Kubernetes is not linked, which takes it too long
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'gofmt: the files above are not formatted'; exit 1; }
	CGO_ENABLED=0 go vet -trimpath ./...
	CGO_ENABLED=0 GOFLAGS=-trimpath go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 $(LIGHT)

.PHONY: cross
cross: ## compile for every platform, into dist
	@set -e; for p in $(PLATFORMS); do echo $$p; \
	GOOS=$${p%/*} GOARCH=$${p#*/} $(BUILD) -ldflags '$(LDFLAGS)' -o dist/$${p%/*}-$${p#*/}/ ./cmd/kwokctl ./cmd/kwok; done

.PHONY: cross-check
cross-check: ## check the types of all that is linked, for every platform
	PLATFORMS='$(filter-out linux/amd64,$(PLATFORMS))' go test -count=1 -v ./internal/floors/platforms

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist
