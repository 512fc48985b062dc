#!/bin/bash
# Transactions over REST with curl alone.
# Usage: transactions.sh REST_ADDRESS
source "$(dirname "$0")/checks.sh" "$1"
begin() { json -d "$1" "$base/txn" | grep -oE '"id":"[0-9a-f]{32}"' | cut -d'"' -f4; }

json -X PUT --data-binary 10 "$base/kv/curl-a" > /dev/null
txn="$base/txn/$(begin '{}')"
expect "own writes are seen" '*"value":"9"*' "$(
  json -d '{"operations": [{"op": "put", "key": "curl-a", "value": "9"}]}' "$txn/write" > /dev/null
  json -d '{"keys": ["curl-a"]}' "$txn/get")"
expect "others do not see them" 10 "$(json "$base/kv/curl-a")"
expect "savepoint" '{"savepoint":1}' "$(json -X POST "$txn/savepoint")"
json -d '{"operations": [{"op": "remove", "key": "curl-a"}]}' "$txn/write" > /dev/null
expect "a scan sees the removal" '{"records":[[]]}' "$(json "$txn/scan?prefix=curl-")"
expect "back to the savepoint" 204 "$(json -o /dev/null -w '%{http_code}' -d '{"savepoint": 1}' "$txn/rollback-to")"
expect "commit" '{"version":*}' "$(json -X POST "$txn/commit")"
expect "committed" 9 "$(json "$base/kv/curl-a")"
expect "over" '*There is no such transaction*404*' "$(json -X POST "$txn/commit")"

txn="$base/txn/$(begin '{"isolation": "serializable"}')"
json -d '{"keys": ["curl-a"]}' "$txn/get" > /dev/null
json -d '{"operations": [{"op": "put", "key": "curl-b", "value": "1"}]}' "$txn/write" > /dev/null
json -X PUT --data-binary 11 "$base/kv/curl-a" > /dev/null
expect "a conflict names its key" '*"keyva-status":"conflict","conflictKey":"curl-a"}409' "$(json -w '%{http_code}' -X POST "$txn/commit")"

txn="$base/txn/$(begin '{"concurrency": "pessimistic", "timeLimit": "5s"}')"
json -d '{"operations": [{"op": "put", "key": "curl-a", "value": "never"}]}' "$txn/write" > /dev/null
expect "a lock is free when its transaction has expired" 204 "$(json -o /dev/null -w '%{http_code}' -X PUT --data-binary 12 "$base/kv/curl-a")"
expect "expired" '*"keyva-status":"expired"}410' "$(json -w '%{http_code}' -d '{"keys": ["curl-a"]}' "$txn/get")"
expect "rollback" 204 "$(json -o /dev/null -w '%{http_code}' -X DELETE "$txn")"

once='{"conditions": [{"key": "curl-a", "ifValue": "12"}], "then": [{"op": "put", "key": "curl-a", "value": "13"}], "otherwise": [{"op": "get", "key": "curl-a"}]}'
expect "one-shot, conditions hold" '{"succeeded":true,"version":*,"records":[[]]}' "$(json -d "$once" "$base/txn:transact")"
expect "one-shot, otherwise" '{"succeeded":false,"version":0,*"value":"13"*' "$(json -d "$once" "$base/txn:transact")"
echo "all $checks checks passed"
