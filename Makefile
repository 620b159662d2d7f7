# What a newcomer needs is "make run" and "make test"; "make help" lists all.
# Whatever is missing on the machine is installed through its package manager.

VERSION := $(or $(shell git describe --tags --always --dirty 2>/dev/null),unknown)
NEED    := .ci/need
TOOL    := go tool -modfile=tools/go.mod

# All is built in one way, so that nothing is compiled twice; but for the race detector,
# which needs cgo.
export GOFLAGS     ?= -trimpath
export CGO_ENABLED ?= 0

# What the product runs, and what its tests talk to it with.
RUN_NEEDS  := redis-server=redis-server
TEST_NEEDS := $(RUN_NEEDS) redis-cli=redis-tools nft=nftables ip=iproute2 systemd-analyze=systemd setpriv=util-linux sshd=openssh-server \
	gcc=gcc /usr/include/stdio.h=libc6-dev /usr/include/hiredis/hiredis.h=libhiredis-dev \
	/usr/bin/python3=python3 /usr/lib/python3/dist-packages/redis/__init__.py=python3-redis \
	/usr/lib/python3/dist-packages/prometheus_client/__init__.py=python3-prometheus-client \
	node=nodejs npm=npm openssl=openssl strace=strace tcpdump=tcpdump nmap=nmap stunnel=stunnel4 spin=spin

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# The validated version of Go's FIPS 140-3 module (docs/fips.md). Its source comes
# with the toolchain, so that nothing is fetched.
FIPS_MODULE := v1.0.0

# TAGS=spiffe adds the client of a SPIFFE Workload API (docs/spiffe.md).
BUILD = CGO_ENABLED=0 go build -trimpath -tags "$(TAGS)" -ldflags "-s -w -X github.com/redoubt-cache/redoubt/internal/cli.version=$(VERSION)"

.PHONY: build
build: ## the binary, bin/redoubt (10 s)
	$(BUILD) -o bin/redoubt ./cmd/redoubt

.PHONY: build-fips
build-fips: ## the same in FIPS 140-3 mode, on the validated module, bin/redoubt-fips (10 s)
	GOFIPS140=$(FIPS_MODULE) $(BUILD) -o bin/redoubt-fips ./cmd/redoubt

.PHONY: package
package: ## .deb and .rpm for amd64 and arm64, with SBOM and checksums, in dist (1 min)
	@$(NEED) git=git
	@BUILD='$(BUILD)' PACKAGE_VERSION='$(PACKAGE_VERSION)' OUT='$(OUT)' ARCHES='$(ARCHES)' FORMATS='$(FORMATS)' SIGNING_KEY='$(SIGNING_KEY)' deploy/package/build

.PHONY: vulncheck
vulncheck: ## known vulnerabilities in what is linked, asked of Go's database (1 min)
	go tool -modfile=tools/vuln/go.mod govulncheck ./cmd/redoubt

.PHONY: run
run: ## a whole deployment on this machine, until Ctrl-C
	@$(NEED) $(RUN_NEEDS)
	@$(MAKE) --no-print-directory build
	bin/redoubt up

# The race detector makes tests five times slower, and has nothing to find where nothing
# happens at once (docs/decisions/0155).
RACING := $(shell grep -rlE '"sync(/atomic)?"|\bgo func|\.Go\b' --include='*.go' internal | xargs -n1 dirname | sort -u | sed 's|^|./|')
# The longest first: what is begun last ends alone.
RACED := ./internal/sidecar $(filter-out ./internal/sidecar,$(RACING))
# It looks at what we write, and not at Go's ciphers, which it makes several times slower.
RACE  := CGO_ENABLED=1 go test -race -gcflags='crypto/internal/...=-race=false' -vet=off -count=1

# The sabotages run alone: a verification holds every file that anybody writes meanwhile,
# and compilers write thousands. lint vets.
.PHONY: test
test: ## every test but the slow ones, with the race detector where things happen at once (8 min; more the first time)
	@$(NEED) $(TEST_NEEDS)
	@npm ci --ignore-scripts --no-audit --no-fund --silent --prefix test/clients/node
	$(RACE) -p 3 -timeout 30m $(RACED)
	go test -vet=off -count=1 -timeout 40m ./test/sabotage
	go test -p 3 -parallel 4 -vet=off -count=1 -timeout 40m ./test/e2e $$(go list ./cmd/... ./internal/... ./docs/... ./test/... | grep -vxF "$$(go list $(RACED) ./test/e2e ./test/sabotage)")
	$(RACE) -timeout 30m -tags spiffe ./internal/workload/...
	go test -tags simulation -vet=off -count=1 -timeout 30m ./test/simulation

# The libraries whose commands are recorded for redoubt explain --for.
LIBRARY_NEEDS := /usr/lib/python3/dist-packages/celery=python3-celery /usr/lib/python3/dist-packages/rq=python3-rq \
	/usr/lib/python3/dist-packages/django_redis=python3-django-redis /usr/lib/python3/dist-packages/channels_redis=python3-channels-redis \
	sidekiq=ruby-sidekiq /usr/share/doc/ruby-activesupport=ruby-activesupport /usr/share/doc/ruby-actioncable=ruby-actioncable \
	php=php-cli /usr/share/doc/php-redis=php-redis /usr/share/php/Predis=php-nrk-predis /usr/share/php/Symfony/Component/Cache=php-symfony-cache \
	/usr/share/php/Illuminate/Redis=php-illuminate-redis /usr/share/php/Illuminate/Cache=php-illuminate-cache /usr/share/php/Illuminate/Queue=php-illuminate-queue

.PHONY: test-slow
test-slow: ## every generation of engines, whole hosts, TLS scanners, further sabotages, a short soak (10 min; more the first time)
	@$(NEED) $(TEST_NEEDS) mmdebstrap=mmdebstrap systemd-nspawn=systemd-container sslscan=sslscan testssl=testssl.sh selfserv=libnss3-tools \
		lintian=lintian rpm=rpm gpg=gnupg groff=groff-base fish=fish zsh=zsh \
		ansible-playbook=ansible ansible-lint=ansible-lint puppet=puppet-agent /usr/share/doc/ruby-rspec-puppet=ruby-rspec-puppet puppet-lint=puppet-lint
	@npm ci --ignore-scripts --legacy-peer-deps --no-audit --no-fund --silent --prefix test/terraform
	go test -tags slow -count=1 -timeout 90m ./test/engines/... ./test/scale/... ./test/scan/... ./test/hosts/... ./test/terraform/... ./test/packages/...
	go test -tags slow -count=1 -timeout 60m ./test/automation/...
	go test -tags slow -count=1 -timeout 60m -run TestEveryCheckFindsItsSabotage ./test/sabotage
	go test -tags simulation -count=1 -timeout 60m -run TestSeeds ./test/simulation -seeds 200000

.PHONY: test-libraries
test-libraries: ## what client libraries send, held against the record of redoubt explain --for, and what they do when the cache is away (10 min)
	@$(NEED) $(TEST_NEEDS) $(LIBRARY_NEEDS)
	@npm ci --ignore-scripts --no-audit --no-fund --silent --prefix test/libraries/node
	go test -tags slow -count=1 -timeout 30m ./test/libraries/...

.PHONY: client-table
client-table: ## what client libraries do when the cache is away, for docs/clients.md (5 min)
	@$(NEED) $(TEST_NEEDS) $(LIBRARY_NEEDS)
	@npm ci --ignore-scripts --no-audit --no-fund --silent --prefix test/libraries/node
	go test -tags slow -count=1 -timeout 30m -run TestLibrariesComeBack ./test/libraries -update

.PHONY: test-browser
test-browser: ## the dossier in a real browser: rendering, accessibility, phone, paper (1 min)
	@$(NEED) $(TEST_NEEDS) /usr/bin/chromium=chromium
	@npm ci --ignore-scripts --no-audit --no-fund --silent --prefix test/browser
	go test -tags slow -count=1 -timeout 30m ./test/browser/...

.PHONY: model
model: ## the shortest attack that a mend stops: make model MEND=LEDGER (1 min)
	@$(NEED) $(TEST_NEEDS)
	go test -count=1 -v -run TestShortestAttack ./test/model -mend $(or $(MEND),LEDGER)

.PHONY: mutate-checks
mutate-checks: ## alters what the checks read, a field at a time; fails for what none notices and docs/sabotage.md doesn't explain (10 min)
	@$(NEED) $(TEST_NEEDS)
	go test -tags slow -count=1 -timeout 30m -v -run TestMutantsAreNoticed ./test/sabotage

.PHONY: order
order: ## that nothing is overtaken on its way to a lane of its own, many times (4 min a race; make order TIMES=1000)
	@$(NEED) $(TEST_NEEDS)
	go test -count=1 -timeout 0 -v -run TestNobodyIsOvertaken ./test/e2e -order $(or $(TIMES),10000)

.PHONY: simulate
simulate: ## the data path from seeds, until one fails: make simulate SEEDS=10000000; one of them, told in full: SEED=4711
	go test -tags simulation -count=1 -timeout 0 -v -run TestSeeds ./test/simulation $(if $(SEED),-seed $(SEED),-seeds $(or $(SEEDS),100000) -from $(or $(FROM),1))

.PHONY: mutate-simulation
mutate-simulation: ## takes mends out of the data path; fails for a fault that the simulation doesn't find again (3 min)
	go test -tags simulation,slow -count=1 -timeout 30m -v -run TestMutantsAreFound ./test/simulation

.PHONY: soak
soak: ## a mixed load that must be answered right, in memory that must not grow (5 min; make soak FOR=1h)
	@$(NEED) $(RUN_NEEDS)
	go test -tags slow -count=1 -timeout 0 -v -run TestSoak ./test/scale -soak $(or $(FOR),5m)

.PHONY: scale
scale: ## what 10,000 idle connections, 1,000 hosts and values of 64 MB cost, for docs/performance.md (5 min)
	@$(NEED) $(RUN_NEEDS)
	go test -tags slow -run NONE -bench . -benchtime 1x -timeout 20m ./test/scale

# SPIRE is built from its source, which its module brings.
.PHONY: test-spire
test-spire: ## gateway and sidecar with certificates of a real SPIRE (1 min; 10 min the first time)
	@$(NEED) $(TEST_NEEDS)
	go test -tags slow,spiffe -count=1 -timeout 40m ./test/spire/...

# What touches cryptography, with everything that isn't approved made to fail.
# Where a test builds the binary, it is the FIPS one as well.
FIPS_ROOMS := pki|statedir|tunnel|enroll|gateway|sidecar|up|cli|redoubt|e2e

.PHONY: test-fips
test-fips: build-fips ## certificates, tunnel, roles and end to end under GODEBUG=fips140=only (2 min)
	@$(NEED) $(TEST_NEEDS)
	bin/redoubt-fips version | grep 'FIPS 140-3 mode on, module $(FIPS_MODULE)'
	GOFIPS140=$(FIPS_MODULE) GODEBUG=fips140=only go test -count=1 -timeout 30m \
		$$(go list ./... | grep -E '/($(FIPS_ROOMS))$$')

.PHONY: fuzz
fuzz: ## each fuzz target for a few seconds (3 min)
	.ci/fuzz 6s

.PHONY: lint
lint: ## formatting, vet, staticcheck, on every platform that we build for
	@out=$$(gofmt -l cmd internal test); [ -z "$$out" ] || { echo "gofmt -w these: $$out" >&2; exit 1; }
	go vet ./...
	go vet -tags slow ./test/engines/... ./test/scale/... ./test/scan/... ./test/browser/... ./test/hosts/... ./test/terraform/... ./test/packages/... ./test/automation/... ./test/libraries/... ./test/sabotage/...
	go vet -tags sabotage ./internal/engine/... ./internal/sandbox/...
	go vet -tags simulation,slow ./internal/eventloop ./internal/gateway ./internal/lane ./internal/sidecar ./test/simulation
	go vet -tags slow,spiffe ./internal/workload/... ./internal/cli/... ./test/spire/...
	$(TOOL) staticcheck ./...
	$(TOOL) staticcheck -tags slow,spiffe ./internal/workload/... ./test/spire/... ./test/scan/...
	$(TOOL) staticcheck -tags simulation,slow ./internal/eventloop/... ./internal/gateway/... ./internal/lane/... ./internal/sidecar/... ./test/simulation/...
	GOOS=linux GOARCH=arm64 go vet ./cmd/... ./internal/...
	GOOS=darwin go build ./cmd/... ./internal/...
	go mod tidy -diff
	go -C test/clients/go vet ./...

.PHONY: bench
bench: ## what the tunnel costs here, beside other tunnels: renews the table in README.md (30 min)
	@$(NEED) $(RUN_NEEDS) stunnel=stunnel4 haproxy=haproxy
	@$(MAKE) --no-print-directory build
	bin/redoubt bench --update README.md --json bin/bench.json --html bin/bench.html

.PHONY: bench-parts
bench-parts: ## benchmarks of single functions
	@$(NEED) $(TEST_NEEDS)
	go test -run=NONE -bench=. -benchmem ./internal/...
