#!/bin/sh
# The first image with curl alone: order, wait, read. Sending the same order again is free.
set -eu
url=$1 file=$2
if [ -n "${GENQUEUE_TOKEN:-}" ]; then set -- -H "Authorization: Bearer $GENQUEUE_TOKEN"; else set --; fi
body=$(mktemp)
trap 'rm -f "$body"' EXIT

# Asks, with the answer in $body. Only a lost connection, a 429 and a 5xx are worth another try: a refusal stays one.
ask() {
  for pause in 1 2 4 8 16 0; do
    : >"$body"
    status=$(curl --silent --show-error --output "$body" --write-out '%{http_code}' "$@") || status=lost
    case $status in 2*) return ;; lost | 429 | 5*) sleep $pause ;; *) break ;; esac
  done
  cat "$body" >&2
  exit 1
}

ask "$@" "$url/v1/jobs" -H 'content-type: application/json' --data \
  '{"provider": "bloom", "prompt": "a quiet harbour at dawn", "batch": "shop", "custom_id": "order-1194-hero"}'
id=$(sed 's/.*"id":"\([^"]*\)".*/\1/' "$body")
while :; do
  ask "$@" "$url/v1/jobs/$id" -H 'Prefer: wait=30'
  if grep -q -e '"ended":true' -e '"held":true' "$body"; then break; fi
done
if ! grep -q '"state":"succeeded"' "$body"; then cat "$body" >&2; exit 1; fi
ask --location "$@" "$url/v1/images/$id/0"
cp "$body" "$file"
echo "order-1194-hero is $file"
