#!/bin/sh
# Installs the stock gRPC and Redis clients that the tests drive the server with (Debian's for Python, npm's for Node.js), the
# Redis server that replies are compared with, the compression libraries, the one that nodes of a
# cluster talk through, and what cuts the links between them.
# Does nothing that was done before, so it needs neither network nor rights the second time.
set -eu
cd "$(dirname "$0")"

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

missing=""
command -v node >/dev/null 2>&1 || missing="$missing nodejs"
command -v npm >/dev/null 2>&1 || missing="$missing npm"
# Debian's interpreter, not another one that may come first on the PATH; and its packages, not the folders here that have such a name (-I).
/usr/bin/python3 -I -c 'import grpc' 2>/dev/null || missing="$missing python3-grpcio"
/usr/bin/python3 -I -c 'import google.protobuf' 2>/dev/null || missing="$missing python3-protobuf"
/usr/bin/python3 -I -c 'import grpc_tools.protoc' 2>/dev/null || missing="$missing python3-grpc-tools"
/usr/bin/python3 -I -c 'import redis' 2>/dev/null || missing="$missing python3-redis"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
command -v redis-cli >/dev/null 2>&1 || missing="$missing redis-tools"
# The codecs of compressed tables, and the transport between nodes.
for package in liblz4-1 libsnappy1v5 libzstd1 libzmq5; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
# Links between nodes that are cut.
command -v ip >/dev/null 2>&1 || missing="$missing iproute2"
command -v iptables >/dev/null 2>&1 || missing="$missing iptables"
if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "the tests need these packages of Debian:$missing" >&2
        exit 1
    fi
    as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

if ! cmp -s node/package-lock.json node/node_modules/.installed-from; then
    (cd node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    cp node/package-lock.json node/node_modules/.installed-from
fi
