# KeyVa: `make run` starts a server, `make test` proves it. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

ARGS ?=
PROFILE ?= small
SEEDS ?= 100000
RID ?= linux-$(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)

export DOTNET_CLI_TELEMETRY_OPTOUT := 1
export DOTNET_NOLOGO := 1

.PHONY: help sdk build run cluster test torture bench bench-engine publish docs format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 21

sdk:
	@command -v dotnet >/dev/null 2>&1 || { \
	  echo "KeyVa is built with the .NET SDK 10, and there is no 'dotnet' on your PATH."; \
	  echo "Get it from https://dotnet.microsoft.com/download/dotnet/10.0, or from your distribution's packages (dotnet-sdk-10.0)."; \
	  exit 1; }
	@dotnet --list-sdks | grep -q '^10\.' || { \
	  echo "KeyVa is built with the .NET SDK 10; installed here:"; dotnet --list-sdks; \
	  echo "Get it from https://dotnet.microsoft.com/download/dotnet/10.0, or from your distribution's packages (dotnet-sdk-10.0)."; \
	  exit 1; }

# The analyzers take most of a build's time: those who build to try it do not wait for them, `make build` and `make test` run them.
build: sdk ## build everything (Release)
	dotnet build KeyVa.slnx -c Release -v quiet

run: sdk ## build and start the server on ./data; options: make run ARGS="--data /tmp/d"
	@dotnet build src/KeyVa.Cli -c Release -v quiet -p:RunAnalyzers=false
	@exec src/KeyVa.Cli/bin/Release/net10.0/keyva serve $(ARGS)

cluster: sdk ## build and start three nodes of a cluster on this machine, in ./data/cluster
	@dotnet build src/KeyVa.Cli -c Release -v quiet -p:RunAnalyzers=false
	@exec deploy/local-cluster.sh src/KeyVa.Cli/bin/Release/net10.0/keyva data/cluster $(ARGS)

test: sdk ## install what the tests need and run every test
	tests/run.sh

torture: sdk ## the long hauls: make torture SEEDS=100000
	KEYVA_TORTURE_SEEDS=$(SEEDS) tests/torture.sh

bench: sdk ## every figure of docs/performance.md: make bench ARGS="engine --quick"
	bench/install.sh
	dotnet run -c Release --project bench/KeyVa.Bench -- $(if $(ARGS),$(ARGS),all)

bench-engine: sdk ## KeyVa against RocksDB: make bench-engine PROFILE=all (or values4k, larger-than-cache, lz4) ARGS="--rounds 1"
	bench/install.sh
	dotnet run -c Release --project bench/KeyVa.Bench -- engine --profile $(PROFILE) $(ARGS)

publish: sdk ## self-contained single file in artifacts/publish
	dotnet publish src/KeyVa.Cli -c Release -r $(RID) --self-contained -o artifacts/publish -v quiet \
	  -p:RunAnalyzers=false -p:PublishSingleFile=true -p:PublishReadyToRun=true -p:PublishTrimmed=true -p:TrimMode=partial \
	  -p:IncludeNativeLibrariesForSelfExtract=true -p:DebugType=none -p:DebugSymbols=false -p:PublishDocumentationFiles=false -p:PublishReferencesDocumentationFiles=false
	@ls -l artifacts/publish/keyva

docs: sdk ## write the pages that follow from the program's own tables: docs/configuration.md, docs/metrics.md
	dotnet build src/KeyVa.Cli -c Release -v quiet
	src/KeyVa.Cli/bin/Release/net10.0/keyva config reference > docs/configuration.md
	src/KeyVa.Cli/bin/Release/net10.0/keyva metrics --reference > docs/metrics.md

format: sdk ## check the code's format
	dotnet format KeyVa.slnx --verify-no-changes

clean: ## remove what was built
	rm -rf artifacts $$(find src tests bench -type d \( -name bin -o -name obj \) -prune)
