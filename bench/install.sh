#!/bin/sh
# Installs what the benchmarks compare with and are driven by (Debian and Ubuntu). Does nothing if all is there.
set -eu

missing=""
for package in librocksdb7.8 rocksdb-tools wrk redis-server redis-tools etcd-server libzmq5; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing
