#!/usr/bin/env bash
# Three nodes of a cluster on this machine, each with a folder and ports of its own, until Ctrl+C.
#   deploy/local-cluster.sh PROGRAM FOLDER [options for each node]
set -euo pipefail
program=$1
folder=$2
shift 2
peers=1=127.0.0.1:7404,2=127.0.0.1:7414,3=127.0.0.1:7424
processes=()
stop() {
  trap - INT TERM EXIT
  kill "${processes[@]}" 2>/dev/null || true
  wait
}
trap stop INT TERM EXIT
mkdir -p "$folder"
for node in 1 2 3; do
  base=$((7400 + (node - 1) * 10))
  "$program" serve --cluster local --node "$node" --peers "$peers" --data "$folder/$node" \
    --rest-listen "127.0.0.1:$base" --grpc-listen "127.0.0.1:$((base + 1))" \
    --control-listen "127.0.0.1:$((base + 2))" --resp-listen "127.0.0.1:$((base + 3))" "$@" \
    >"$folder/$node.log" 2>&1 &
  processes+=("$!")
  echo "node $node: process $!, REST http://127.0.0.1:$base, gRPC 127.0.0.1:$((base + 1)), control 127.0.0.1:$((base + 2)), Redis 127.0.0.1:$((base + 3)), log $folder/$node.log"
done
echo "Try, in another terminal:"
echo "  $program set greeting hello"
echo "  $program --server 127.0.0.1:7421 get greeting"
echo "  $program admin cluster status"
echo "Ctrl+C stops all of them."
wait
