#!/usr/bin/env bash
# Proves that a component can be removed: copies the tree, deletes the component and the lines that name it in the
# lists, and checks that what is left compiles, tests included. The working tree stays as it is.
#
#   scripts/without.sh            lists the components
#   scripts/without.sh <name>     checks the tree without that one
#
# A component is a feature (src/features/<name>), a kind of provider (src/providers/<name>) or one vendor
# (src/providers/<kind>/<name>). With it go its tests, tests/it/{features,providers}/<name> and <name>_*, and the migrations
# called NNNN_<name>.sql.
# Dependencies are kept built in target/without, so that only the first run is long.
set -euo pipefail

root=$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)
cd "$root"

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Paths of all components, without extension.
components() {
    local path
    for path in src/features/* src/providers/* src/providers/*/*; do
        case $path in
            *'*'* | */mod.rs | */config.rs | */fake.rs | */templates) ;;
            *.rs) printf '%s\n' "${path%.rs}" ;;
            *) if [[ -d $path ]]; then printf '%s\n' "$path"; fi ;;
        esac
    done
}

# The list files of a component: they may name it, and lose those lines with it.
lists() {
    case $1 in
        src/features/*) printf '%s\n' src/features/mod.rs src/app/config.rs ;;
        src/providers/*/*) printf '%s\n' "$(dirname "$1")/mod.rs" "$(dirname "$1")/config.rs" src/app/config.rs src/app/mod.rs ;;
        src/providers/*) printf '%s\n' src/providers/mod.rs src/app/config.rs src/app/mod.rs ;;
    esac
}

# Files that use the component, other than its own and the lists. Reads whole files, for a `use` may span lines.
users() {
    local component=$1 file path parent name
    path=${component#src/} # features/projects
    parent=$(basename "$(dirname "$path")")
    name=$(basename "$path")
    while IFS= read -r file; do
        if sed 's|//.*||' "$file" | tr '\n' ' ' |
            grep -Eq "(^|[^A-Za-z0-9_])$parent::($name|\{[^;]*[^A-Za-z0-9_:]$name)([^A-Za-z0-9_]|$)|super::super::$name::"; then
            printf '%s\n' "$file"
        fi
    done < <(find src -name '*.rs' -not -path "$component/*" -not -path "$component.rs" | grep -vxFf <(lists "$component") | sort)
}

list() {
    local component kind
    while IFS= read -r component; do
        kind=$(dirname "${component#src/}")
        if [[ -n $(users "$component") ]]; then
            printf '%-24s %-20s used by others, stays\n' "$(basename "$component")" "$kind"
        else
            printf '%-24s %s\n' "$(basename "$component")" "$kind"
        fi
    done < <(components)
}

# Drops the lines that name the component in code from a list file, and shows them.
drop_lines() {
    local file=$1 words=$2 pattern
    pattern="(^|[^A-Za-z0-9_\"])($words)"
    [[ -f $file ]] || return 0
    grep -nE "$pattern" "$file" | sed "s|^|  $file:|" || return 0
    sed -i.before -E "/$pattern/d" "$file"
    rm "$file.before"
}

remove() {
    local component=$1 name words file
    name=$(basename "$component")
    words="mod $name;|$name::"
    # A vendor also has a variant in its kind's enum: `amazon_ses` is `AmazonSes` there.
    if [[ $component == src/providers/*/* ]]; then
        words+="|\\b$(awk -F_ '{ for (i = 1; i <= NF; i++) printf "%s%s", toupper(substr($i, 1, 1)), substr($i, 2) }' <<<"$name")\\b"
    fi
    rm -rf "$component" "$component.rs" "tests/it/features/$name" "tests/it/features/$name.rs" tests/it/features/"$name"_*.rs "tests/it/providers/$name.rs" tests/it/providers/"$name"_*.rs
    rm -f migrations/*/[0-9][0-9][0-9][0-9]_"$name".sql
    while IFS= read -r file; do
        # The ring of the app has modules of its own, `jobs` for one: there a feature is named by its settings alone.
        case $component:$file in
            src/features/*:src/app/config.rs) drop_lines "$file" "features::$name::config::" ;;
            *) drop_lines "$file" "$words" ;;
        esac
    done < <(lists "$component")
}

if [[ $# -eq 0 ]]; then
    list
    exit 0
fi
[[ $# -eq 1 && $1 =~ ^[a-z][a-z0-9_]*$ ]] || die "usage: scripts/without.sh [<component>]"
name=$1

component=$(components | grep -E "/$name\$" || true)
[[ -n $component ]] || die "There is no component called $name. Those there are:" "$(list)"
[[ $component != *$'\n'* ]] || die "$name is the name of several components:" "$component"

used=$(users "$component")
[[ -z $used ]] || die "$name cannot be removed: other code uses it. Remove these first, or move what they need:" "$used"

copy=$(mktemp -d)
export CARGO_TARGET_DIR=$root/target/without
export CARGO_INCREMENTAL=0 # the copy lies elsewhere each time, so nothing of it could be used again
clean() {
    # What was built from the copy would pile up; the dependencies stay. `cargo clean -p` would take the crate `http` along,
    # for a benchmark of ours has the same name.
    local package
    package=$(sed -n 's/^name = "\(.*\)"/\1/p' "$copy/Cargo.toml" | head -n 1)
    (cd "$CARGO_TARGET_DIR/debug" && rm -rf {.fingerprint,build}/"$package"-* deps/{,lib}{"$package",it}-*) 2>/dev/null || true
    rm -rf "$copy"
}
trap clean EXIT

# Tracked and new files, but neither ignored nor deleted ones.
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do
        [[ ! -e $file ]] || printf '%s\0' "$file"
    done |
    tar --null --files-from=- -cf - | tar -xf - -C "$copy"

cd "$copy"
printf 'Without %s; lines dropped:\n' "$component"
remove "$component"
cargo check --tests --locked
printf 'The tree compiles without %s.\n' "$name"
