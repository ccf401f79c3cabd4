#!/bin/sh
# The first image with curl alone: order, wait, read. Sending the same order again is free, so curl may retry.
set -eu
url=$1 file=$2
if [ -n "${GENQUEUE_TOKEN:-}" ]; then set -- -H "Authorization: Bearer $GENQUEUE_TOKEN"; else set --; fi
ask() { curl --silent --show-error --fail-with-body --retry 5 --retry-all-errors "$@"; }

job=$(ask "$@" "$url/v1/jobs" -H 'content-type: application/json' --data \
  '{"provider": "bloom", "prompt": "a quiet harbour at dawn", "batch": "shop", "custom_id": "order-1187-hero"}')
id=$(printf %s "$job" | sed 's/.*"id":"\([^"]*\)".*/\1/')
while :; do
  job=$(ask "$@" "$url/v1/jobs/$id" -H 'Prefer: wait=30')
  case $job in *'"ended":true'* | *'"held":true'*) break ;; esac
done
case $job in *'"state":"succeeded"'*) ;; *) printf '%s\n' "$job" >&2; exit 1 ;; esac
ask --location "$@" "$url/v1/images/$id/0" --output "$file"
echo "order-1187-hero is $file"
