#!/bin/bash
# Drives a server with redis-cli and redis-benchmark: cli.sh PORT
set -euo pipefail
port="$1"

expect() { # expect WANTED ARGUMENTS...
    local wanted="$1" got
    shift
    got="$(redis-cli -p "$port" "$@")"
    if [ "$got" != "$wanted" ]; then
        echo "redis-cli $*: '$got' instead of '$wanted'" >&2
        exit 1
    fi
}

expect PONG ping
expect OK set cli:a "a value"
expect "a value" get cli:a
expect 1 incr cli:n
expect "$(printf 'a value\n1')" mget cli:a cli:n
expect OK set cli:t x ex 100
expect 1 exists cli:t
expect "" get cli:missing
expect 3 del cli:a cli:n cli:t
expect OK -3 set cli:three y
expect y -3 get cli:three

# The pipe mode of bulk loads, and a value that comes over standard input.
for i in $(seq 1 1000); do printf 'SET cli:pipe:%d %d\r\n' "$i" "$i"; done | redis-cli -p "$port" --pipe | grep -q 'errors: 0, replies: 1000'
expect 777 get cli:pipe:777
head -c 300000 /dev/zero | tr '\0' z | redis-cli -p "$port" -x set cli:large | grep -qx OK
expect 300000 strlen cli:large
[ "$(redis-cli -p "$port" --scan --pattern 'cli:pipe:*' | sort -u | wc -l)" = 1000 ]

# What redis-cli asks for hints and for its big-keys report.
redis-cli -p "$port" command docs get | grep -q group
redis-cli -p "$port" --bigkeys | grep -q 'Biggest string found'

redis-benchmark -p "$port" -q -n 2000 -c 20 -P 8 -r 1000 -t ping,set,get,incr,mset | grep -c 'requests per second' | grep -qx 6
echo "checks passed"
