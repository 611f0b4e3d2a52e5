#!/usr/bin/env bash
# Copies the working tree to a new folder: tracked and new files, but neither ignored nor deleted ones.
set -euo pipefail

cd "$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)"
[[ $# -eq 1 ]] || { printf 'usage: scripts/copy-tree.sh <folder>\n' >&2; exit 1; }
mkdir -p "$1"
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do
        [[ ! -e $file ]] || printf '%s\0' "$file"
    done |
    tar --null --files-from=- -cf - | tar -xf - -C "$1"
