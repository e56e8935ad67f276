#!/usr/bin/env bash
# Run the service and the web page for it until Ctrl-C, or until one of them ends: the other goes too.
set -u
camsvc=$1 backend=$2
shift 2
trap 'trap "" INT TERM; kill $(jobs -p) 2>/dev/null; wait' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$camsvc" serve "$@" &
node "$backend/dist/src/main.js" &
wait -n
