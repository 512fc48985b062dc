#!/usr/bin/env bash
# Installs what the tests need and runs every test; the last line counts them.
set -euo pipefail
cd "$(dirname "$0")/.."

tests/clients/install.sh
dotnet build KeyVa.slnx -c Release -v quiet
# The single file, which is tested as it is deployed.
make publish

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
dotnet run -c Release --no-build --project bench/KeyVa.Bench -- selftest || status=1
for project in tests/KeyVa.Tests tests/KeyVa.Simulation tests/KeyVa.Fuzz; do
  dotnet test "$project" -c Release --no-build --logger "console;verbosity=normal" --blame-hang-timeout 10m 2>&1 | tee -a "$log" || status=1
done

passed=$(awk '/^ +Passed: +[0-9]+/ { n += $2 } END { print n + 0 }' "$log")
failed=$(awk '/^ +Failed: +[0-9]+/ { n += $2 } END { print n + 0 }' "$log")
if [ "$failed" -ne 0 ]; then
  # Named again at the end, each with its message and where it was thrown, and in few lines: a log that is kept only in part keeps its end.
  echo "What failed:"
  awk '/^ +Failed [A-Za-z_]/ { on = 1; lines = 0 } /^ +(Passed|Skipped) / || /^\[/ || /^Test Run / { on = 0 } on && /^ +Stack Trace:/ && lines < 10 { lines = 10 } on && lines++ < 18' "$log" | cut -c1-300
fi
if [ "$passed" -eq 0 ]; then
  echo "no test was run" >&2
  status=1
fi
echo "$passed passed, $failed failed"
exit "$status"
