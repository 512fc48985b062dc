# For scripts that check what curl is answered: sourced with the address of the REST listener.
set -u
base="http://$1"
checks=0
json() { curl -gsS --noproxy '*' --max-time 40 -H 'Content-Type: application/json' "$@"; }
expect() { # NAME PATTERN TEXT
  if [[ "$3" != $2 ]]; then
    echo "failed: $1: '$3' is not like '$2'"
    exit 1
  fi
  checks=$((checks + 1))
  echo "ok: $1"
}
