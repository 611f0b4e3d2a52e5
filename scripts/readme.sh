#!/usr/bin/env bash
# Runs every command of README.md, so that none of them can go stale.
#
# A block marked `sh server` is started in the background and lasts until the next one or the end; a block
# marked `sh` must succeed. Both run from the repository's root. `scripts/readme.sh test` runs only the
# blocks of the section "Test", `scripts/readme.sh` all others.
set -euo pipefail
cd "$(dirname "$0")/.."

section=${1:-other}
ran=0
server=""
stop() { if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; server=""; fi; }
trap stop EXIT

wait_until_ready() {
  for _ in $(seq 1 600); do
    if curl -sf -o /dev/null http://localhost:8000/api/v1/public/health/ready; then return; fi
    if ! kill -0 "$server" 2>/dev/null; then echo "the server ended by itself" >&2; exit 1; fi
    sleep 0.5
  done
  echo "the server did not get ready" >&2
  exit 1
}

run_block() { # kind, text
  printf '\n--- README: %s\n%s\n' "$1" "$2"
  if [ "$1" = server ]; then
    stop
    # exec: the signal at the end must reach the server and not a shell around it.
    bash -c "set -e; exec env ${2}" &
    server=$!
    wait_until_ready
  else
    bash -euo pipefail -c "$2"
  fi
}

title="" kind="" text=""
while IFS= read -r line <&3; do
  if [ -n "$kind" ]; then
    if [ "$line" = '```' ]; then
      belongs=other
      if [ "$title" = "Test" ]; then belongs="test"; fi
      if [ "$belongs" = "$section" ]; then
        run_block "$kind" "$text"
        ran=$((ran + 1))
      fi
      kind=""
    else
      text+="$line"$'\n'
    fi
  else
    case "$line" in
      '## '*) title=${line#\#\# } ;;
      '```sh server') kind=server text="" ;;
      '```sh') kind=run text="" ;;
    esac
  fi
done 3< README.md
[ "$ran" -gt 0 ] || { echo "README.md has no block to run here" >&2; exit 1; }
