#!/usr/bin/env bash
# Proves that docs/adding-a-feature.md works: copies the tree, applies every block of the page that names a file, and checks
# format and the tests of the new feature. The working tree stays as it is.
#
# Blocks are applied in the order of the page:
#
#   ```rust file=<path>  or  ```sql file=<path>   the content of a new file
#   ```diff file=<path>                           a line of that file (after a space), then the lines to add after it (after `+`)
#
set -euo pipefail

root=$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)
cd "$root"
page=docs/adding-a-feature.md

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Writes a new file.
create() {
    local file=$1 text=$2
    [[ ! -e $file ]] || die "$page: $file exists already"
    mkdir -p "$(dirname "$file")"
    printf '%s' "$text" >"$file"
    printf '  new      %s\n' "$file"
}

# Adds lines after one line of a file. That line must be there once.
add_after() {
    local file=$1 line=$2 added=$3
    [[ -f $file ]] || die "$page: there is no file $file"
    [[ -n $added ]] || die "$page: a block for $file adds no line after: $line"
    [[ $(grep -cxF -- "$line" "$file") == 1 ]] || die "$page: $file must have this line once: $line"
    LINE=$line ADDED=$added awk '{ print } $0 == ENVIRON["LINE"] { printf "%s", ENVIRON["ADDED"] }' "$file" >"$file.new"
    mv "$file.new" "$file"
    printf '  changed  %s\n' "$file"
}

# Applies a diff block: pairs of one known line and the lines that follow it.
change() {
    local file=$1 text=$2 line known="" added=""
    while IFS= read -r line; do
        case $line in
            ' '*)
                if [[ -n $known ]]; then add_after "$file" "$known" "$added"; fi
                known=${line:1} added=""
                ;;
            +*)
                [[ -n $known ]] || die "$page: a block for $file does not begin with a line of the file"
                added+=${line:1}$'\n'
                ;;
            *) die "$page: a line of a diff block begins with a space or with +: $line" ;;
        esac
    done <<<"${text%$'\n'}"
    [[ -n $known ]] || die "$page: an empty block for $file"
    add_after "$file" "$known" "$added"
}

# Reads the page and applies its blocks in the current folder.
apply() {
    local line kind="" file="" text="" applied=0
    while IFS= read -r line; do
        if [[ -n $kind ]]; then
            if [[ $line != '```' ]]; then
                text+=$line$'\n'
                continue
            fi
            case $kind in
                diff) change "$file" "$text" ;;
                *) create "$file" "$text" ;;
            esac
            applied=$((applied + 1))
            kind=""
        elif [[ $line =~ ^\`\`\`(rust|sql|diff)\ file=([A-Za-z0-9_./-]+)$ ]]; then
            kind=${BASH_REMATCH[1]} file=${BASH_REMATCH[2]} text=""
        fi
    done <"$page"
    [[ -z $kind ]] || die "$page: the block for $file has no end"
    [[ $applied -gt 0 ]] || die "$page has no block that names a file"
}

[[ $# -eq 0 ]] || die "usage: scripts/adding-a-feature.sh"

# The copy is built in the folder of the working tree, so that every dependency is built already. Cargo tells two copies of a
# package apart by the times of their files alone; the wrapper, which does nothing, keeps their results apart.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
[[ $CARGO_TARGET_DIR == /* ]] || CARGO_TARGET_DIR=$root/$CARGO_TARGET_DIR
export RUSTC_WORKSPACE_WRAPPER=env
work=$CARGO_TARGET_DIR/adding-a-feature
tree=$work/tree
mkdir -p "$work"
# A second run waits, because both would use the same copy.
exec 9>"$work/.lock"
if command -v flock >/dev/null; then flock 9; fi
rm -rf "$tree"
scripts/copy-tree.sh "$tree"

cd "$tree"
printf 'The blocks of %s:\n' "$page"
apply
cargo fmt --check
cargo test --locked --test it notes::
printf 'The feature of %s compiles and passes its tests.\n' "$page"
