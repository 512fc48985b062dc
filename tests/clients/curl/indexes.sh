#!/bin/bash
# Secondary indexes over REST with curl alone.
# Usage: indexes.sh REST_ADDRESS
source "$(dirname "$0")/checks.sh" "$1"
query() { json -G "$base/indexes/curl/records" "$@"; }

for i in 1 2 3; do
  json -X PUT --data-binary "{\"city\": \"Oslo\", \"age\": ${i}0}" "$base/kv/curl-idx-$i" > /dev/null
done
expect "create" '{"name":"curl","fields":[[]"city","age"[]]*201' "$(json -w '%{http_code}' -X PUT -d '{"fields": ["city", "age"]}' "$base/indexes/curl")"
expect "wait" '*"state":"ready"*' "$(json "$base/indexes/curl?wait=30s")"
expect "list" '{"indexes":[[]{"name":"curl"*' "$(json "$base/indexes")"
expect "equality" '{"records":[[]{"key":"curl-idx-2","fields":[[]"Oslo",20[]],"value":*' "$(query --data-urlencode 'equal=["Oslo", 2e1]')"
expect "range, reverse, limit" '{"records":[[]{"key":"curl-idx-3","fields":[[]"Oslo",30[]]}[]],"resume":"*"}' "$(
  query --data-urlencode 'equal="Oslo"' --data-urlencode 'from=15' -d 'reverse' -d 'limit=1' -d 'keys-only')"
resume=$(query --data-urlencode 'equal="Oslo"' -d 'limit=2' -d 'keys-only' | grep -oE '"resume":"[^"]+"' | cut -d'"' -f4)
expect "resume" '{"records":[[]{"key":"curl-idx-3","fields":[[]"Oslo",30[]]}[]]}' "$(query -d "after=$resume" -d keys-only)"
expect "prefix" '{"records":[[]{"key":"curl-idx-1"*' "$(query -d prefix=Os)"
expect "no JSON" '*equal is '\''Oslo'\'', which is no JSON value*"keyva-status":"invalid"}400' "$(query -w '%{http_code}' -d equal=Oslo)"
expect "not unique" '*"keyva-status":"not-unique"}409' "$(
  json -X PUT -d '{"fields": ["city"], "unique": true}' "$base/indexes/curl-one" > /dev/null
  json -w '%{http_code}' "$base/indexes/curl-one?wait=30s")"
txn="$base/txn/$(json -d '{}' "$base/txn" | grep -oE '"id":"[0-9a-f]{32}"' | cut -d'"' -f4)"
json -d '{"operations": [{"op": "put", "key": "curl-idx-4", "value": "{\"city\": \"Oslo\", \"age\": 15}"}, {"op": "remove", "key": "curl-idx-1"}]}' "$txn/write" > /dev/null
expect "a transaction sees what it has written" '{"records":[[]{"key":"curl-idx-4","fields":[[]"Oslo",15[]]},{"key":"curl-idx-2"*' "$(json "$txn/indexes/curl/records?keys-only")"
json -X PUT --data-binary '{"city": "Oslo", "age": 16}' "$base/kv/curl-idx-5" > /dev/null
expect "a conflict names the index" '*the index '\''curl'\'' has shown*"keyva-status":"conflict"}409' "$(json -w '%{http_code}' -X POST "$txn/commit")"
expect "drop" 204 "$(json -o /dev/null -w '%{http_code}' -X DELETE "$base/indexes/curl")"
expect "gone" '*"keyva-status":"not-found"}404' "$(query -w '%{http_code}')"
echo "all $checks checks passed"
