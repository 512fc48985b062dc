#!/usr/bin/env bash
# The long hauls: the crash simulation over KEYVA_TORTURE_SEEDS seeds, that of Raft over KEYVA_RAFT_SEEDS (or as many), that
# of whole nodes over KEYVA_CLUSTER_SEEDS (or as many), the metamorphic test over KEYVA_METAMORPHIC_SEEDS (or a tenth as many), each fuzzing target for KEYVA_FUZZ_SECONDS (ten minutes), all
# eight bits of every byte of a small store, and KEYVA_HISTORY_SEEDS (200) histories of each kind, embedded and over gRPC (at most
# 20 with killed servers). A failing seed is printed and replays alone: KEYVA_SEED=N for the simulations and histories,
# KEYVA_FUZZ_SEED=N KEYVA_FUZZ_ITERATIONS=1 for fuzzing.
set -euo pipefail
cd "$(dirname "$0")/.."
dotnet build tests/KeyVa.Simulation -c Release -v quiet
KEYVA_RAFT_SEEDS=${KEYVA_RAFT_SEEDS:-${KEYVA_TORTURE_SEEDS:-}} KEYVA_CLUSTER_SEEDS=${KEYVA_CLUSTER_SEEDS:-${KEYVA_TORTURE_SEEDS:-}} KEYVA_METAMORPHIC_SEEDS=${KEYVA_METAMORPHIC_SEEDS:-${KEYVA_TORTURE_SEEDS:+$((KEYVA_TORTURE_SEEDS / 10))}} \
  dotnet test tests/KeyVa.Simulation -c Release --no-build --logger "console;verbosity=detailed"
dotnet build tests/KeyVa.Fuzz -c Release -v quiet
KEYVA_FUZZ_SECONDS=${KEYVA_FUZZ_SECONDS:-600} \
  dotnet test tests/KeyVa.Fuzz -c Release --no-build --logger "console;verbosity=detailed"
dotnet build tests/KeyVa.Tests -c Release -v quiet
KEYVA_EVERY_BIT=1 dotnet test tests/KeyVa.Tests -c Release --no-build --filter CrashMatrixDamage --logger "console;verbosity=detailed"
# Histories of concurrent clients across crashes, checked for linearizability and isolation.
KEYVA_HISTORY_SEEDS=${KEYVA_HISTORY_SEEDS:-200} \
  dotnet test tests/KeyVa.Tests -c Release --no-build --filter "FullyQualifiedName~Histories.Store" --logger "console;verbosity=normal"
# Memory: 4 GiB into a server inside 512 MiB (enforced by a control group where one can be made), and no gen-2 collection
# while ten million records are written.
dotnet build tests/KeyVa.Tests -c Release -v quiet
KEYVA_FILL_MIB=${KEYVA_FILL_MIB:-4096} KEYVA_FILL_LIMIT_MIB=${KEYVA_FILL_LIMIT_MIB:-512} KEYVA_FILL_RECORDS=${KEYVA_FILL_RECORDS:-10000000} \
  dotnet test tests/KeyVa.Tests -c Release --no-build --logger "console;verbosity=detailed" \
  --filter "FullyQualifiedName~FillWithinLimitTests|FullyQualifiedName~FillCollectionTests"
