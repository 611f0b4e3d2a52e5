#!/usr/bin/env bash
# Clicks a whole purchase in headless Chromium, against the server and `omnistack fake-vendors`: checkout, webhooks, status,
# portal, cancellation, resumption and end, with flexible and with classic billing.
#
#   scripts/purchase.sh            all checks
#   scripts/purchase.sh <folder>   also puts pictures of the pages into the folder
#
# Needs Chromium with its driver and Python 3.9 or newer. What is missing is skipped, with a line that says so; with
# REQUIRE_SERVICES=1 it is an error. OMNISTACK=<path> tests another binary than the debug build.
set -euo pipefail

if [ $# -gt 1 ]; then
  echo "usage: scripts/purchase.sh [<folder for pictures>]" >&2
  exit 2
fi
if [ $# = 1 ]; then
  mkdir -p "$1"
  set -- "$(cd "$1" && pwd)"
fi
cd "$(dirname "$0")/.."

if ! command -v chromium > /dev/null || ! command -v chromedriver > /dev/null; then
  echo "the purchase in a browser: chromium or chromedriver is missing" >&2
  if [ "${REQUIRE_SERVICES:-}" = 1 ]; then exit 1; fi
  exit 0
fi
if [ -z "${OMNISTACK:-}" ]; then
  cargo build --quiet --locked
  OMNISTACK=${CARGO_TARGET_DIR:-target}/debug/omnistack
fi
export OMNISTACK
exec python3 scripts/purchase.py "$@"
