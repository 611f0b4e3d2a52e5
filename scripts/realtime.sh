#!/usr/bin/env bash
# Checks the clients of the WebSocket and of the server-sent events in docs/examples, against two instances of the server that
# share a Redis and a database: the types; reconnects, restarts and lost tokens in Node; the page realtime.html in two windows of
# headless Chromium; and hostile frames (frames.py).
#
#   scripts/realtime.sh            all checks
#   scripts/realtime.sh <folder>   also puts pictures of the page into the folder
#
# Needs Node 20 and npm, redis-server and Python 3.11 or newer, and Chromium with its driver for the page. What is missing is
# skipped, with a line that says so; with REQUIRE_SERVICES=1 it is an error. OMNISTACK=<path> tests another binary than the debug
# build. FRAMES_SECONDS=<n> (20) and FRAMES_SEED=<n> (1) set how long frames are mutated, and which.
set -euo pipefail

if [ $# -gt 1 ]; then
  echo "usage: scripts/realtime.sh [<folder for pictures>]" >&2
  exit 2
fi
if [ $# = 1 ]; then
  mkdir -p "$1"
  set -- "$(cd "$1" && pwd)"
fi
cd "$(dirname "$0")/.."

typescript=5.9.3
ws=8.18.3

. scripts/npm.sh
# Installs the compiler and the WebSocket of Node below the target folder, once.
tools=$target/typescript-$typescript-ws-$ws
if ! installed "$tools" "typescript@$typescript" "ws@$ws"; then
  skip "the realtime clients: npm is missing, or cannot install"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo '{ "type": "module" }' > "$work/package.json"
"$tools/node_modules/.bin/tsc" --outDir "$work" --strict --noUncheckedIndexedAccess --exactOptionalPropertyTypes --noUnusedLocals \
  --noUnusedParameters --erasableSyntaxOnly --target es2022 --module esnext --lib es2022,dom,dom.iterable \
  docs/examples/realtime.ts docs/examples/events.ts
echo "realtime.ts, events.ts: types hold"

if ! command -v redis-server > /dev/null; then
  skip "the realtime clients against the server: redis-server is missing"
  exit 0
fi
if ! command -v chromium > /dev/null || ! command -v chromedriver > /dev/null; then
  skip "the realtime page in a browser: chromium or chromedriver is missing"
fi
if [ -z "${OMNISTACK:-}" ]; then
  cargo build --quiet --locked
  OMNISTACK=$target/debug/omnistack
fi
export OMNISTACK
cp docs/examples/realtime.html "$work"
NODE_PATH=$tools/node_modules python3 scripts/realtime.py "$work" "$@"
