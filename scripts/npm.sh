# shellcheck shell=bash
# Sourced by the scripts that check the clients of docs/examples: packages of npm, and what a machine lacks.

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)

skip() {
  if [ "${REQUIRE_SERVICES:-}" = 1 ]; then echo "$1" >&2; exit 1; fi
  echo "skipped: $1"
}

# Installs the TypeScript compiler and other packages into a folder below the target folder, once.
installed() { # folder, packages
  [ -x "$1/node_modules/.bin/tsc" ] && return
  command -v npm > /dev/null || return
  npm install --silent --no-audit --no-fund --no-save --prefix "$@" && return
  rm -rf "$1"
  return 1
}
