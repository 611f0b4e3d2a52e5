#!/usr/bin/env bash
# Proves that docs/adding-a-feature.md works: copies the tree, applies every block of the page that names a file, and checks
# format, lints and the tests of the new feature. The working tree stays as it is.
#
# Blocks are applied in the order of the page:
#
#   ```rust file=<path>  or  ```sql file=<path>   the content of a new file
#   ```diff file=<path>                           a line of that file (after a space), then the lines to add after it (after `+`)
#
# What was built is kept in target/adding-a-feature, so only the first run is long.
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

# The copy lies at a fixed path, because the compiler reuses its earlier work only for the same path. It is built in a folder of
# its own: cargo tells two copies of a package apart by nothing but the times of their files, and would take the result of this
# copy for that of the working tree.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/adding-a-feature
[[ $CARGO_TARGET_DIR == /* ]] || CARGO_TARGET_DIR=$root/$CARGO_TARGET_DIR
tree=$CARGO_TARGET_DIR/tree
mkdir -p "$CARGO_TARGET_DIR"
# A second run waits, because both would use the same copy.
exec 9>"$CARGO_TARGET_DIR/.lock"
if command -v flock >/dev/null; then flock 9; fi
rm -rf "$tree"
mkdir "$tree"

# Tracked and new files, but neither ignored nor deleted ones.
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do
        [[ ! -e $file ]] || printf '%s\0' "$file"
    done |
    tar --null --files-from=- -cf - | tar -xf - -C "$tree"

cd "$tree"
printf 'The blocks of %s:\n' "$page"
apply
cargo fmt --check
cargo clippy --all-targets --locked -- -D warnings
cargo test --locked --test it notes::
printf 'The feature of %s compiles, passes the lints and its tests.\n' "$page"
