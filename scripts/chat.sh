#!/usr/bin/env bash
# Checks the chat page of docs/examples: the types of chat.ts, that the script of chat.html is the same code without types, and
# the page itself in headless Chromium, against a stub of the API (every kind of answer and error) and against the server with
# the provider `echo`.
#
#   scripts/chat.sh         all checks
#   scripts/chat.sh write   puts the code of chat.ts into chat.html
#
# Types need Node and npm, the page needs Chromium with its driver and Python 3.9 or newer. What is missing is skipped, with a
# line that says so; with REQUIRE_SERVICES=1 it is an error. OMNISTACK=<path> tests another binary than the debug build.
set -euo pipefail
cd "$(dirname "$0")/.."

typescript=5.9.3
sucrase=3.35.1

. scripts/npm.sh
# Installs the compiler and the eraser of types below the target folder, once.
tools=$target/typescript-$typescript-sucrase-$sucrase
tools_installed() { installed "$tools" "typescript@$typescript" "sucrase@$sucrase"; }
page() { NODE_PATH=$tools/node_modules node scripts/chat.js; }

check_types() {
  "$tools/node_modules/.bin/tsc" --noEmit --strict --noUncheckedIndexedAccess --exactOptionalPropertyTypes --noUnusedLocals \
    --noUnusedParameters --erasableSyntaxOnly --target es2022 --module esnext --lib es2022,dom,dom.iterable docs/examples/chat.ts
  page | diff docs/examples/chat.html - || { echo "chat.html is not the code of chat.ts: run scripts/chat.sh write" >&2; exit 1; }
  echo "chat.ts: types hold, and chat.html has the same code"
}

case $#:${1:-} in
  0:)
    if tools_installed; then check_types; else skip "the types of chat.ts: npm is missing, or cannot install"; fi
    ;;
  1:write)
    tools_installed || { echo "npm is missing, or cannot install" >&2; exit 1; }
    html=$(page && echo .)
    printf '%s' "${html%.}" > docs/examples/chat.html
    exit
    ;;
  *)
    echo "usage: scripts/chat.sh [write]" >&2
    exit 2
    ;;
esac

if ! command -v chromium > /dev/null || ! command -v chromedriver > /dev/null; then
  skip "the chat page in a browser: chromium or chromedriver is missing"
  exit 0
fi
if [ -z "${OMNISTACK:-}" ]; then
  cargo build --quiet --locked
  OMNISTACK=$target/debug/omnistack
fi
export OMNISTACK
exec python3 scripts/chat.py
