#!/bin/sh
# Runs a command in a network namespace beside three more, joined by a bridge: hosts 10.199.0.1 to 10.199.0.3 for nodes, 10.199.0.100 for the command, which
# finds their prefix in KEYVA_TEST_NAMESPACES. Nothing outside of them is touched, and they are gone afterwards.
#   tests/cluster/namespaces.sh COMMAND ...
set -eu
prefix="kv$$-"

remove() {
    for node in 0 1 2 3; do
        ip netns del "$prefix$node" 2>/dev/null || true
    done
}
trap remove EXIT
trap 'exit 1' INT TERM

ip netns add "${prefix}0"
ip -n "${prefix}0" link set lo up
ip -n "${prefix}0" link add bridge0 type bridge
ip -n "${prefix}0" addr add 10.199.0.100/24 dev bridge0
ip -n "${prefix}0" link set bridge0 up
for node in 1 2 3; do
    ip netns add "$prefix$node"
    ip -n "$prefix$node" link set lo up
    ip -n "${prefix}0" link add "port$node" type veth peer name eth0 netns "$prefix$node"
    ip -n "${prefix}0" link set "port$node" master bridge0 up
    ip -n "$prefix$node" addr add "10.199.0.$node/24" dev eth0
    ip -n "$prefix$node" link set eth0 up
done
KEYVA_TEST_NAMESPACES=$prefix ip netns exec "${prefix}0" "$@"
