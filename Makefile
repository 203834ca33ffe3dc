# Everything that is more than `go run ./cmd/carnet dev` and `go test ./...`.
# `make help` lists the targets. Tests that need more than Go carry the build
# tag `interop` and are started from here only; there a missing need fails.

SHELL       := /bin/bash
BUILD       := build
BIN         := $(BUILD)/carnet
GOFLAGS     ?=
BUILDFLAGS  ?= -trimpath -ldflags '-s -w'
VECTORS     ?= ../shared/vectors
FUZZTIME    ?= 30s
FUZZOTHERS  ?= 8s
BENCHTIME   ?= 1s
STATICCHECK := v0.8.2
GOVULNCHECK := v1.8.0
VENV        := $(BUILD)/venv
TOOLS       := $(abspath $(BUILD))/tools

export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

.PHONY: build
build: ## the static binary, build/carnet
	go build $(BUILDFLAGS) -o $(BIN) ./cmd/carnet

.PHONY: test
test: ## the plain tests: nothing but Go
	go test ./...

.PHONY: lint
lint: fmt vet staticcheck vuln ## format, vet, staticcheck, advisories

.PHONY: fmt
fmt: ## fail where gofmt would change a file
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi

.PHONY: vet
vet: ## go vet, with every build tag
	go vet ./...
	go vet -tags 'interop vectors' ./...
	go -C bench vet ./...
	go -C test/s3conformance/client vet ./...

.PHONY: staticcheck
staticcheck: $(TOOLS)/staticcheck ## staticcheck, with every build tag
	$(TOOLS)/staticcheck -tags 'interop vectors' ./...

$(TOOLS)/staticcheck:
	GOBIN=$(TOOLS) go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK)

$(TOOLS)/govulncheck:
	GOBIN=$(TOOLS) go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK)

.PHONY: vuln
vuln: $(TOOLS)/govulncheck ## advisories: govulncheck, or the pinned table where no database can be reached
	@.ci/advisories $(TOOLS)/govulncheck

# All that differs by architecture is in the libraries, so each system is built
# for one of them.
.PHONY: cross
cross: ## build for Linux, macOS and Windows
	@set -e; for target in linux/amd64 darwin/arm64 windows/amd64; do \
	  echo "build $$target"; GOOS=$${target%/*} GOARCH=$${target#*/} go build -o /dev/null ./cmd/carnet; done

# SQLite's own code, C put into Go's words, is left without the detector: watching its
# every step takes three times as long, and what calls it is watched.
RACE := CGO_ENABLED=1 go test -race -gcflags='modernc.org/...=-race=false'

.PHONY: race
race: ## the plain tests under the race detector (needs a C compiler)
# Not the two pure floors, where the house test allows no goroutine, nor what reads
# source and data alone; whole servers, the command lines and migrations are for make full,
# and so are the tests of a day of polling and of 500 changed trails. Some packages wait
# more than they compute, so more run at once than there are processors.
	$(RACE) -p 4 -timeout 15m -skip '^(TestTrinoRules|TestAttackEveryColumn)$$' $$(go list ./... | grep -vE '/internal$$|/internal/(core|protocol)/|/internal/app/(cli|dev|server)$$|/internal/edge/sql/state$$|/test/(servers|conformance)$$')

.PHONY: fuzz-smoke
fuzz-smoke: ## the readers of unproven bytes for FUZZTIME (30s) each, all other targets for FUZZOTHERS (8s)
	@mkdir -p $(BUILD) && .ci/fuzz $(FUZZTIME) $(FUZZOTHERS)

.PHONY: vectors
vectors: ## outside test vectors from VECTORS; fails when none load
	CARNET_VECTORS=$(abspath $(VECTORS)) go test -count=1 -tags vectors -run 'Vectors' -v ./internal/protocol/sigv4/... ./internal/protocol/oidc/... | grep -vE '^(=== |\?|testing: warning)' ; exit $${PIPESTATUS[0]}

.PHONY: bench
bench: ## first benchmarks, ratios printed (they go to build/bench.txt too)
	@mkdir -p $(BUILD)
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem ./internal/protocol/... ./internal/service/... ./internal/edge/gateway/... ./internal/edge/awsapi/... ./internal/edge/issuerapi/... ./internal/edge/upstream/... | grep -vE '^(PASS|ok|goos|goarch|\?)' | tee $(BUILD)/bench.txt ; exit $${PIPESTATUS[0]}

.PHONY: bench-rivals
bench-rivals: ## SAML verification beside crewjam/saml and goxmldsig (a module of its own)
	go -C bench vet ./...
	go -C bench test -run '^$$' -bench . -benchtime $(BENCHTIME) ./...

$(VENV)/.done: test/interop/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

.PHONY: interop-aws
interop-aws: build $(VENV)/.done ## the real aws command line and boto3 against the real binary: people, workloads, the pages of docs/use
	@.ci/need shell
	CARNET_BINARY=$(abspath $(BIN)) CARNET_VENV=$(abspath $(VENV)) go test -count=1 -tags interop -timeout 15m -v ./test/interop/...

.PHONY: bridge-long
bridge-long: build $(VENV)/.done ## 20 minutes of boto3 on a role session whose keys by SAML end after 15
	CARNET_BINARY=$(abspath $(BIN)) CARNET_VENV=$(abspath $(VENV)) go test -count=1 -tags interop -timeout 30m -v -run '^TestBridge$$' ./test/interop -bridge 20m -bridge-keys 15m

SIMULATOR := $(BUILD)/simulator
DIFFCASES ?= 20000

$(SIMULATOR)/.done: test/policydiff/simulator/package.json test/policydiff/simulator/package-lock.json test/policydiff/simulator/simulate.mjs
	@.ci/need node
	mkdir -p $(SIMULATOR) && cp $^ $(SIMULATOR)/
	cd $(SIMULATOR) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

.PHONY: policy-diff
policy-diff: $(SIMULATOR)/.done ## DIFFCASES (20000) random policies against an independent simulator, a process of its own; every difference explained
	CARNET_SIMULATOR=$(abspath $(SIMULATOR)) go test -count=1 -tags interop -timeout 30m -v ./test/policydiff -cases $(DIFFCASES) $(DIFFFLAGS)

.PHONY: conformance
conformance: conformance-policy conformance-s3 ## the policy engine beside a simulator, the gateway beside a store

.PHONY: conformance-policy
conformance-policy: ## ask the simulator 20,000 times, keep the result, write docs/conformance.md
	$(MAKE) policy-diff DIFFFLAGS=-update
	go test -count=1 ./test/conformance -update

S3CLIENTS := $(BUILD)/s3-clients
S3CLIENT  := test/s3conformance/client

$(S3CLIENTS)/.done: $(wildcard $(S3CLIENT)/*.go $(S3CLIENT)/*/*.go) $(S3CLIENT)/go.mod $(S3CLIENT)/go.sum
	@mkdir -p $(S3CLIENTS)
	go -C $(S3CLIENT) build -o $(abspath $(S3CLIENTS))/client .
	@mkdir -p $(S3CLIENTS)/mint-source
	go -C $(S3CLIENT) run ./mintgen "$$(go -C $(S3CLIENT) list -m -f '{{.Dir}}' github.com/minio/minio-go/v7)/functional_tests.go" $(abspath $(S3CLIENTS))/mint-source/main.go
	go -C $(S3CLIENT) build -o $(abspath $(S3CLIENTS))/mint $(abspath $(S3CLIENTS))/mint-source/main.go
	go -C $(S3CLIENT) build -o $(abspath $(S3CLIENTS))/versitygw github.com/versity/versitygw/cmd/versitygw
	touch $@

# S3_FLAGS=-short-run runs the groups that matter most, with static keys;
# S3_FLAGS=-update writes docs/compatibility/s3-conformance.md anew.
.PHONY: conformance-s3
conformance-s3: build $(S3CLIENTS)/.done ## versitygw's and minio-go's own tests, straight at a store and through the gateway
	CARNET_BINARY=$(abspath $(BIN)) CARNET_S3_CLIENTS=$(abspath $(S3CLIENTS)) go test -count=1 -tags interop -timeout 30m -v ./test/s3conformance -args $(S3_FLAGS)

IAMJS := $(BUILD)/iam-js

$(IAMJS)/.done: test/iam/js/package.json test/iam/js/package-lock.json test/iam/js/scenario.mjs
	@.ci/need node
	mkdir -p $(IAMJS) && cp $^ $(IAMJS)/
	cd $(IAMJS) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

# IAM_RUN, a regular expression, picks tests; IAM_FLAGS=-update writes the transcripts anew.
.PHONY: interop-iam
interop-iam: build $(VENV)/.done $(IAMJS)/.done ## IAM and STS by the aws command line, boto3, the AWS SDKs and Terraform
	@if [ -z '$(IAM_RUN)' ] || grep -q Terraform <<<'$(IAM_RUN)'; then .ci/need terraform; fi
	CARNET_BINARY=$(abspath $(BIN)) CARNET_VENV=$(abspath $(VENV)) CARNET_IAM_JS=$(abspath $(IAMJS)) CARNET_TF_PLUGINS=$$(.ci/need terraform-plugins) \
	  go test -count=1 -tags interop -timeout 20m -v ./test/iam -run '$(IAM_RUN)' $(IAM_FLAGS)
	CARNET_VENV=$(abspath $(VENV)) go test -count=1 -tags interop -v ./internal/edge/iamapi -run TestShapesOfBotocore

.PHONY: browser
browser: build ## pages and the cross-site sign-in in a real headless Chromium
	@.ci/need chromium
	CARNET_BINARY=$(abspath $(BIN)) go test -count=1 -tags interop -timeout 10m -run 'Browser|Chromium' -v ./internal/edge/web/... ./internal/edge/gateway ./test/browser/...

RP := $(BUILD)/rp

$(RP)/node/.done: test/rp/node/package.json test/rp/node/package-lock.json test/rp/node/rp.mjs
	@.ci/need node
	mkdir -p $(RP)/node && cp $^ $(RP)/node/
	cd $(RP)/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

$(RP)/java/.done: test/rp/java/pom.xml test/rp/java/RP.java
	@.ci/need maven && .ci/need jdk
	mkdir -p $(RP)/java/classes
	mvn -q -B -f test/rp/java/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath $(RP))/java/jars
	javac -cp '$(RP)/java/jars/*' -d $(RP)/java/classes test/rp/java/RP.java
	touch $@

# RP_RUN, a regular expression, picks tests; only what they need is installed.
.PHONY: interop-rp
interop-rp: build ## people sign in at relying parties on coreos/go-oidc, openid-client (Node.js) and Nimbus (Java)
	@set -e; for rp in node java; do \
	  if [[ -z "$(RP_RUN)" ]] || grep -qi "$$rp" <<<"$(RP_RUN)"; then $(MAKE) --no-print-directory $(RP)/$$rp/.done; fi; done
	CARNET_BINARY=$(abspath $(BIN)) CARNET_RP_NODE=$(abspath $(RP))/node CARNET_RP_JAVA=$(abspath $(RP))/java \
	  go test -count=1 -tags interop -timeout 10m -v ./test/rp -run '$(RP_RUN)'

SDK := $(BUILD)/sdk

$(SDK)/node/.done: test/sdk/node/package.json test/sdk/node/package-lock.json test/sdk/node/read.mjs
	@.ci/need node
	mkdir -p $(SDK)/node && cp $^ $(SDK)/node/
	cd $(SDK)/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

$(SDK)/java/.done: test/sdk/java/pom.xml test/sdk/java/Read.java
	@.ci/need maven && .ci/need jdk
	rm -rf $(SDK)/java && mkdir -p $(SDK)/java/classes
	mvn -q -B -f test/sdk/java/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath $(SDK))/java/jars
	javac -cp '$(SDK)/java/jars/*' -d $(SDK)/java/classes test/sdk/java/Read.java
	touch $@

# SDK_ROWS, a regular expression, picks rows; only what they need is installed.
# SDK_FLAGS=-update writes the table anew.
.PHONY: interop-oidc
interop-oidc: build ## AWS's SDKs for Go, Python, JavaScript and Java assume a role with our token, and read S3
	@set -e; for sdk in python:$(VENV) javascript:$(SDK)/node java:$(SDK)/java; do \
	  if [[ -z "$(SDK_ROWS)" ]] || grep -qiw "$${sdk%%:*}" <<<"$(SDK_ROWS)"; then $(MAKE) --no-print-directory "$${sdk#*:}/.done"; fi; done
	CARNET_BINARY=$(abspath $(BIN)) CARNET_VENV=$(abspath $(VENV)) CARNET_SDK_NODE=$(abspath $(SDK))/node CARNET_SDK_JAVA=$(abspath $(SDK))/java \
	  go test -count=1 -tags interop -timeout 10m -v ./test/sdk -run 'TestSDK/$(SDK_ROWS)' $(SDK_FLAGS)

CLIENTS := $(BUILD)/clients

$(CLIENTS)/duckdb/.done $(CLIENTS)/pyarrow/.done $(CLIENTS)/polars/.done $(CLIENTS)/s3fs/.done: $(CLIENTS)/%/.done: test/clients/python/%.txt
	python3 -m venv $(CLIENTS)/$*
	$(CLIENTS)/$*/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(CLIENTS)/javascript/.done: test/clients/node/package.json test/clients/node/package-lock.json test/clients/node/drive.mjs
	@.ci/need node
	mkdir -p $(CLIENTS)/node $(@D) && cp $^ $(CLIENTS)/node/
	cd $(CLIENTS)/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

$(CLIENTS)/java/.done $(CLIENTS)/hadoop/.done: $(CLIENTS)/%/.done: test/clients/%/pom.xml test/clients/%/Drive.java
	@.ci/need maven && .ci/need jdk
	rm -rf $(@D) && mkdir -p $(@D)/classes
	mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(abspath $(@D))/jars
	javac -cp '$(@D)/jars/*' -d $(@D)/classes $(word 2,$^)
	touch $@

# The official build, from the package in which AWS ships it for Lambda.
$(CLIENTS)/aws-v2/.done: test/clients/aws-v2/package.json test/clients/aws-v2/package-lock.json
	@.ci/need node && .ci/need unzip
	rm -rf $(@D) && mkdir -p $(@D) && cp $^ $(@D)/
	cd $(@D) && npm ci --legacy-peer-deps --ignore-scripts --no-audit --no-fund --loglevel=error
	cd $(@D) && unzip -q node_modules/@aws-cdk/asset-awscli-v2/lib/layer.zip && rm -rf node_modules && mkdir bin && ln -s ../$$(echo awscli/v2/[0-9]*)/dist/aws bin/aws
	touch $@

$(CLIENTS)/boto3/.done $(CLIENTS)/aws-v1/.done: $(VENV)/.done
	mkdir -p $(@D) && touch $@

$(CLIENTS)/rclone/.done $(CLIENTS)/s3cmd/.done $(CLIENTS)/aws-debian/.done: $(CLIENTS)/%/.done:
	.ci/need $*
	mkdir -p $(@D) && touch $@

.PHONY: $(CLIENTS)/go/.done $(CLIENTS)/minio-go/.done
$(CLIENTS)/go/.done:
	mkdir -p $(@D) && go build -o $(@D)/drive ./test/clients/go
$(CLIENTS)/minio-go/.done:
	mkdir -p $(@D) && go -C bench build -o $(abspath $(@D))/drive ./minioclient

# CLIENT_ROWS, a regular expression for each level of client/scheme/keys, picks
# rows; only what they need is installed. CLIENT_FLAGS=-update writes the table anew.
.PHONY: interop-clients
interop-clients: build ## S3 clients against the gateway: http and https, session and static keys (CLIENT_ROWS picks rows)
	@.ci/need shell
	@set -e; rows='$(CLIENT_ROWS)'; first=$${rows%%/*}; for client in boto3 aws-v1 aws-v2 aws-debian go javascript java minio-go rclone s3cmd duckdb pyarrow polars s3fs hadoop; do \
	  if [[ -z "$$first" || "$$client" =~ $$first ]]; then $(MAKE) --no-print-directory $(CLIENTS)/$$client/.done; fi; done
	CARNET_BINARY=$(abspath $(BIN)) CARNET_VENV=$(abspath $(VENV)) CARNET_CLIENTS=$(abspath $(CLIENTS)) \
	  go test -count=1 -tags interop -timeout 60m -v ./test/clients -run 'TestClients/$(CLIENT_ROWS)|TestPages/$(firstword $(subst /, ,$(CLIENT_ROWS)))' $(CLIENT_FLAGS)

ENGINES := $(BUILD)/engines

$(ENGINES)/python/.done: test/engines/python/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

# Spark comes with pyspark; beside it what S3A needs, and the guard of a shared server.
$(ENGINES)/spark/.done: test/engines/spark/requirements.txt test/engines/spark/pom.xml $(wildcard contrib/spark-connect/*.java)
	@.ci/need maven && .ci/need jdk
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	rm -rf $(@D)/s3a $(@D)/guard && mkdir -p $(@D)/guard
	mvn -q -B -f test/engines/spark/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath $(@D))/s3a -DexcludeGroupIds=io.netty,org.slf4j,commons-codec,commons-logging
	javac -Xlint:all,-processing,-classfile,-path -Werror -cp "$$(echo $(@D)/lib/python3*/site-packages/pyspark/jars)/*" -d $(@D)/guard $(filter %.java,$^)
	jar cf $(@D)/guard.jar -C $(@D)/guard .
	touch $@

$(ENGINES)/trino/.done: .ci/need
	.ci/need trino
	touch $@

# ENGINE_ROWS, a regular expression, picks rows; only what they need is installed.
# ENGINE_FLAGS: -update writes the table anew; -life D is how long keys live in
# the rows that outlive them (2m).
.PHONY: engines
engines: build ## Spark, Trino, DuckDB, pyarrow, polars, delta-rs, pandas, MLflow: two people on the same machines at once (root)
	@set -e; for row in pyarrow:$(CLIENTS)/pyarrow spark-local:$(ENGINES)/spark spark-cluster:$(ENGINES)/spark spark-long:$(ENGINES)/spark spark-stream:$(ENGINES)/spark spark-connect:$(ENGINES)/spark \
	  trino:$(ENGINES)/trino duckdb:$(ENGINES)/python polars:$(ENGINES)/python deltalake:$(ENGINES)/python pandas:$(ENGINES)/python mlflow:$(ENGINES)/python; do \
	  if [[ -z '$(ENGINE_ROWS)' || "$${row%%:*}" =~ $(or $(ENGINE_ROWS),.) ]]; then $(MAKE) --no-print-directory "$${row#*:}/.done"; fi; done
	CARNET_BINARY=$(abspath $(BIN)) CARNET_ENGINES=$(abspath $(ENGINES)) CARNET_CLIENTS=$(abspath $(CLIENTS)) \
	  go test -count=1 -tags interop -timeout 90m -v ./test/engines -run 'TestEngines/$(ENGINE_ROWS)' $(ENGINE_FLAGS)

# AGENT_ROWS, a regular expression for each level of client/way, picks rows; only what
# they need is installed. AGENT_FLAGS=-update writes the table anew.
.PHONY: interop-agent
interop-agent: build ## S3 clients on a node, by every way that the agent offers (AGENT_ROWS picks rows; needs root)
	@.ci/need shell
	@set -e; rows='$(AGENT_ROWS)'; first=$${rows%%/*}; for client in boto3 aws-v1 aws-v2 go javascript java polars polars-boto3 pyarrow hadoop duckdb; do \
	  if [[ -z "$$first" || "$$client" =~ $$first ]]; then $(MAKE) --no-print-directory $(CLIENTS)/$${client%-boto3}/.done; fi; done
	CARNET_BINARY=$(abspath $(BIN)) CARNET_VENV=$(abspath $(VENV)) CARNET_CLIENTS=$(abspath $(CLIENTS)) \
	  go test -count=1 -tags interop -timeout 30m -v ./test/agents -run 'TestAgent/$(AGENT_ROWS)|TestRefused/$(firstword $(subst /, ,$(AGENT_ROWS)))' $(AGENT_FLAGS)

# OUTAGE_FLAGS=-outage-keys D sets how long keys live.
.PHONY: agent-outage
agent-outage: build ## the server away for longer than the window in which keys are renewed (needs root)
	CARNET_BINARY=$(abspath $(BIN)) go test -count=1 -tags interop -timeout 30m -v ./test/agents -run '^TestOutage$$' $(OUTAGE_FLAGS)

# BENCH_FLAGS: -rounds N, -window D, -identities N.
.PHONY: bench-agent
bench-agent: build ## fetches from the agent beside canned ones, bursts, memory, with targets (to build/bench-agent.txt too; needs root)
	CARNET_BINARY=$(abspath $(BIN)) go test -count=1 -tags interop -timeout 30m -v ./test/agentbench -run '^TestBenchAgent$$' -out $(abspath $(BUILD))/bench-agent.txt $(BENCH_FLAGS)

# IDP_ROWS, a regular expression, picks rows; only what they need is installed.
.PHONY: interop-idp
interop-idp: build ## people sign in through real identity providers (IDP_ROWS picks rows)
	@set -e; for idp in simplesamlphp samlp keycloak oidc-provider; do \
	  if [[ -z "$(IDP_ROWS)" ]] || grep -qi "$$idp" <<<"$(IDP_ROWS)"; then .ci/need $$idp; fi; done
	@if [[ -z "$(IDP_ROWS)" ]] || grep -qi chromium <<<"$(IDP_ROWS)"; then .ci/need chromium; fi
	CARNET_BINARY=$(abspath $(BIN)) CARNET_IDPS=$(abspath $(BUILD))/idps IDP_ROWS='$(IDP_ROWS)' \
	  go test -count=1 -tags interop -timeout 20m -v ./test/idp/...

.PHONY: interop-proxies
interop-proxies: ## the AWS port behind a real nginx, set up as documented
	@.ci/need nginx
	go test -count=1 -tags interop -timeout 5m -run Nginx -v ./internal/app/server

JUPYTERHUB := $(BUILD)/jupyterhub

# The system's Python: people's own accounts run it.
$(JUPYTERHUB)/.done: test/jupyterhub/requirements.txt test/jupyterhub/package.json test/jupyterhub/package-lock.json
	@.ci/need python && .ci/need node
	rm -rf $(JUPYTERHUB) && mkdir -p $(JUPYTERHUB)/node
	$(firstword $(wildcard /usr/bin/python3) python3) -m venv $(JUPYTERHUB)/venv
	$(JUPYTERHUB)/venv/bin/pip install --quiet --disable-pip-version-check -r $<
	cp test/jupyterhub/package.json test/jupyterhub/package-lock.json $(JUPYTERHUB)/node/
	cd $(JUPYTERHUB)/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

.PHONY: interop-jupyterhub
interop-jupyterhub: build $(JUPYTERHUB)/.done ## JupyterHub with two people on one machine (Linux, root)
	CARNET_BINARY=$(abspath $(BIN)) CARNET_JUPYTERHUB=$(abspath $(JUPYTERHUB)) go test -count=1 -tags interop -timeout 5m -v ./test/jupyterhub

.PHONY: isolation
isolation: build ## attacks on a node's agent by other people, machines and agents (Linux, root; docs/security/isolation.md)
	@.ci/need curl
	@.ci/need nft
	CARNET_BINARY=$(abspath $(BIN)) go test -count=1 -tags interop -timeout 5m -v ./test/nodes ./test/isolation ./internal/edge/node/metadata

.PHONY: conformance-scim
conformance-scim: build ## SCIM 2.0: an independent client from PyPI, and the dialects of Okta and Entra ID
	@.ci/need python
	@cmp -s test/scim/requirements.txt build/scim/installed || { python3 -m venv build/scim && build/scim/bin/pip -q install -r test/scim/requirements.txt && cp test/scim/requirements.txt build/scim/installed; }
	CARNET_BINARY=$(abspath $(BIN)) CARNET_SCIM_PYTHON=$(abspath build/scim/bin/python) go test -count=1 -tags interop -timeout 5m ./test/scim
	go test -count=1 ./internal/protocol/scim ./internal/edge/scimapi ./internal/edge/sql/provisioning

.PHONY: state-suites
state-suites: build ## conformance, crash and several-server suites on SQLite and a real PostgreSQL; the trail to a real rsyslog
	@.ci/need postgres
	@.ci/need rsyslog
	CARNET_BINARY=$(abspath $(BIN)) go test -count=1 -tags interop -timeout 15m ./internal/edge/sql/... \
	  ./internal/service/keyring ./internal/service/onceonly ./internal/service/audit ./internal/edge/audittarget/... ./internal/service/revocation ./internal/edge/scimapi ./test/servers

COLLECTOR := $(BUILD)/collector/collector

$(COLLECTOR): $(wildcard bench/collector/*.go) bench/collector/go.mod bench/collector/go.sum
	@mkdir -p $(@D)
	go -C bench/collector vet ./...
	go -C bench/collector build -o $(abspath $@) .

.PHONY: interop-otlp
interop-otlp: $(COLLECTOR) ## the audit trail to a real OpenTelemetry collector, as documented, which is killed meanwhile
	CARNET_COLLECTOR=$(abspath $(COLLECTOR)) go test -count=1 -tags interop -timeout 10m -run OpenTelemetryCollector -v ./internal/app/server

# Packages whose tests handle secrets and write. Not service/oauth, service/provisioning
# and edge/oauthclient, whose tests handle or write next to nothing, nor edge/nodeapi, whose
# server in tests gives out words of two letters: app/agent and app/server run the real one.
SECRETPACKAGES := $(addprefix ./internal/app/,agent dev server) $(addprefix ./internal/service/,attachment broker gatewaykeys issuer login sts workload) \
  $(addprefix ./internal/edge/,api awsapi gateway iamapi issuerapi node scimapi web) ./test/servers

# SECRETS names packages, to search them alone; about 10 minutes for all.
.PHONY: secrets
secrets: ## run tests, whole worlds among them, then search all that they wrote for every secret that they handled (PostgreSQL, too)
	go run ./tools/secretgrep $(BUILD)/secretgrep $(or $(SECRETS),$(SECRETPACKAGES))
ifeq ($(SECRETS),)
	@.ci/need postgres
	go run ./tools/secretgrep -tags interop -run '^(TestACutOffServerRefuses|TestServersAreEqual)$$' $(BUILD)/secretgrep ./test/servers
endif

.PHONY: bench-directory
bench-directory: ## 100,000 people, 20,000 groups, 500,000 mappings on both engines; fails over the bounds
	@.ci/need postgres
	go test -run '^$$' -tags interop -timeout 15m -bench BenchmarkDirectory -benchtime $(BENCHTIME) -v ./internal/edge/sql/directory | grep -vE '^(goos|goarch)' ; exit $${PIPESTATUS[0]}

# BENCH_FLAGS: -rounds N, -kinds REGEXP, -update to write docs/operations/revocation.md anew.
.PHONY: bench-revocation
bench-revocation: build ## from a revocation to the first refusal at three servers and two agents; fails over 2 s (to build/bench-revocation.txt too; needs root)
	@.ci/need postgres
	@.ci/need curl
	CARNET_BINARY=$(abspath $(BIN)) go test -count=1 -tags interop -timeout 10m -v ./test/fleet
	CARNET_BINARY=$(abspath $(BIN)) go test -count=1 -tags interop -timeout 90m -v ./test/revocationbench -out $(abspath $(BUILD))/bench-revocation.txt $(BENCH_FLAGS)

# FAULTS_FLAGS: -only REGEXP of scenarios, -outage D, -update to write docs/operations/faults.md anew.
.PHONY: faults
faults: build ## servers, PostgreSQL and the lines between them break under load; what was acknowledged has to hold (to build/faults.txt too; about 7 minutes; needs root)
	@.ci/need postgres
	@.ci/need curl
	CARNET_BINARY=$(abspath $(BIN)) go test -count=1 -tags interop -timeout 30m -v -run '^TestFaults$$' ./test/faults $(FAULTS_FLAGS)

# BENCH_FLAGS: -rows REGEXP, -rounds N, -window D, and -bare for a store and
# clients without net/http. CARNET_SIGV4_PROXY names a binary of aws-sigv4-proxy;
# without one a stand-in of our own takes its place.
.PHONY: bench-gateway
bench-gateway: build $(VENV)/.done ## the gateway beside a relay, nginx and aws-sigv4-proxy, with targets (to build/bench-gateway.txt too; about 12 minutes)
	@.ci/need nginx
	CARNET_BINARY=$(abspath $(BIN)) CARNET_VENV=$(abspath $(VENV)) go test -count=1 -tags interop -timeout 60m -v ./test/gatewaybench \
	  -run '^TestBenchGateway$$' -out $(abspath $(BUILD))/bench-gateway.txt $(BENCH_FLAGS)

# MEMORY_FLAGS: -uploads N, -feed D.
.PHONY: memory-gateway
memory-gateway: build ## 500 uploads declared as 1 GiB, fed slowly for a minute and cut; large uploads; idle connections: fails over the bounds
	CARNET_BINARY=$(abspath $(BIN)) go test -count=1 -tags interop -timeout 15m -v ./test/gatewaybench -run '^TestMemoryGateway$$' $(MEMORY_FLAGS)

.PHONY: rotation
rotation: ## 3 rotations of the issuer's keys during 60 seconds of token use
	go test -count=1 -v ./internal/service/issuer -run TestRotationUnderLoad -rotation 60s

.PHONY: check-dev
check-dev: build ## the walk from sign-in to S3 with the built binary
	$(BIN) dev --check

.PHONY: full
full: ci ## every matrix and long run
	$(MAKE) fuzz-smoke FUZZTIME=5m FUZZOTHERS=5m
	go test -count=1 ./internal/protocol/saml -run TestMutants -mutants 100000
	$(RACE) -count=1 -timeout 30m ./test/servers ./internal/app/... ./internal/edge/sql/state ./internal/service/{audit,gatewaykeys,issuer} ./internal/core/... ./internal/protocol/...
	$(MAKE) policy-diff conformance-s3 conformance-scim
	CARNET_TF_FULL=1 $(MAKE) interop-iam
	CARNET_FULL=1 $(MAKE) interop-idp
	$(MAKE) interop-oidc interop-rp interop-clients interop-agent agent-outage
	$(MAKE) interop-jupyterhub interop-otlp
	$(MAKE) bridge-long
	$(MAKE) engines ENGINE_ROWS='^(duckdb|polars|deltalake|pandas|mlflow|spark-(local|cluster|stream|connect)|trino)$$$$'
	$(MAKE) engines ENGINE_ROWS='spark-long' ENGINE_FLAGS='-life 15m'
	$(MAKE) rotation bench bench-rivals bench-directory memory-gateway bench-gateway bench-agent
	$(MAKE) secrets
	$(MAKE) bench-revocation
	$(MAKE) faults

.PHONY: ci
ci: ## what .ci/run does
	.ci/run
