#!/usr/bin/env bash
# The long hauls: the crash simulation over KEYVA_TORTURE_SEEDS seeds. A failing seed is printed and replays alone with
# KEYVA_SEED=N tests/torture.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
dotnet build tests/KeyVa.Simulation -c Release -v quiet
dotnet test tests/KeyVa.Simulation -c Release --no-build --logger "console;verbosity=detailed"
