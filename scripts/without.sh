#!/usr/bin/env bash
# Proves that components can be removed: deletes a component in a copy of the tree, together with its lines in the list
# file, its tests and its migrations, and checks that the rest compiles, tests included. The working tree is not changed.
#
#   scripts/without.sh            lists the components
#   scripts/without.sh <name>     checks the tree without that component
#   scripts/without.sh --all      checks the tree without each removable component in turn, then without all of them
#   scripts/without.sh --groups   proves the same with fewer checks: about 2 × log2(n) instead of n
#
# A component is a feature (src/features/<name>, listed in src/features/mod.rs) or a vendor (src/providers/<kind>/<name>,
# listed in VENDORS of src/providers/<kind>/mod.rs). The default vendor of a kind, and a component that other code uses, stay.
# With a component go its tests, tests/it/{features,providers}/<name> and <name>_*, and its migrations, NNNN_<name>.sql.
set -euo pipefail

root=$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)
cd "$root"

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Prints the path of each component, without extension, in the order of the lists.
components() {
    local list
    sed -nE 's|^ *&([a-z0-9_]+)::[A-Za-z0-9_]+,.*|src/features/\1|p' src/features/mod.rs
    for list in src/providers/*/mod.rs; do
        sed -nE "s|^ *&([a-z0-9_]+)::VENDOR,.*|${list%/mod.rs}/\1|p" "$list"
    done
}

# Prints each source file as one line, its path, a tab and its code without comments: a `use` may span lines.
sources() {
    find src -name '*.rs' -exec awk '
        FNR == 1 { printf "%s%s\t", (NR == 1 ? "" : "\n"), FILENAME }
        { sub("//.*", ""); gsub("\t", " "); printf "%s ", $0 }
        END { print "" }' {} + | LC_ALL=C sort
}

# Prints the files that use a component, other than its own and its list. Reads the output of `sources`.
users() {
    awk -F '\t' -v folder="$(dirname "$1")" -v name="$(basename "$1")" '
        index($1, folder "/" name "/") == 1 || $1 == folder "/" name ".rs" || $1 == folder "/mod.rs" { next }
        {
            parent = folder
            sub(".*/", "", parent)
            parents = parent "::"
            # A file in the same folder may also write `super::`, once for each level between.
            if (index($1, folder "/") == 1) {
                path = substr($1, length(folder) + 2)
                sub("(/mod)?[.]rs$", "", path)
                supers = ""
                for (level = split(path, parts, "/"); level > 0; level--) supers = supers "super::"
                parents = "(" parents "|" supers ")"
            }
            if ($2 ~ "(^|[^A-Za-z0-9_])" parents "([{]([^;]*[^A-Za-z0-9_:])?)?" name "([^A-Za-z0-9_]|$)") print $1
        }'
}

# The first vendor of a kind.
is_default() {
    [[ $1 == src/providers/* && $1 == "$(grep -m 1 "^$(dirname "$1")/" <<<"$all")" ]]
}

# Prints each component with its folder, and why it stays if it cannot be removed.
list() {
    local component reason
    while IFS= read -r component; do
        reason=""
        if is_default "$component"; then
            reason="the default vendor, stays"
        elif [[ -n $(users "$component" <<<"$sources") ]]; then
            reason="used by others, stays"
        fi
        printf '%-16s %-20s %s\n' "$(basename "$component")" "$(dirname "${component#src/}")" "$reason"
    done <<<"$all"
}

# Copies the tree to a fixed path, because the compiler reuses its earlier work only for the same path. Takes tracked and new
# files, but neither ignored nor deleted ones.
#
# Dependencies are shared with all other builds. The package itself must not be: cargo tells two copies of a package apart by
# nothing but the times of their files, and would take the result of this copy for that of the working tree. Cargo keeps what
# a workspace wrapper compiled apart (https://doc.rust-lang.org/cargo/reference/config.html#buildrustc-workspace-wrapper), so
# the compiler is run through `env`, which changes nothing else.
prepare() {
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target} CARGO_INCREMENTAL=1 RUSTC_WORKSPACE_WRAPPER
    RUSTC_WORKSPACE_WRAPPER=$(command -v env)
    [[ $CARGO_TARGET_DIR == /* ]] || CARGO_TARGET_DIR=$root/$CARGO_TARGET_DIR
    tree=$CARGO_TARGET_DIR/without/tree
    aside=$CARGO_TARGET_DIR/without/aside
    mkdir -p "$CARGO_TARGET_DIR"
    # A second run waits, because both would use the same copy.
    exec 9>"$CARGO_TARGET_DIR/.without-lock"
    if command -v flock >/dev/null; then flock 9; fi
    rm -rf "$CARGO_TARGET_DIR/without"
    mkdir -p "$aside"
    scripts/copy-tree.sh "$tree"
    cd "$tree"
}

# Prints a component's tests. `project_tags.rs` belongs to the component `project_tags`, if there is one, and not to `project`.
tests_of() {
    local component=$1 name folder path base other
    name=$(basename "$component")
    folder=tests/it/$(cut -d / -f 2 <<<"$component")
    for path in "$folder/$name" "$folder/$name.rs" "$folder/$name"_*; do
        [[ -e $path ]] || continue
        base=$(basename "$path" .rs)
        while IFS= read -r other; do
            other=$(basename "$other")
            if [[ $other == "$name"_* && ($base == "$other" || $base == "$other"_*) ]]; then continue 2; fi
        done <<<"$all"
        printf '%s\n' "$path"
    done
}

# Takes a file or folder out of the copy until `restore`.
put_aside() {
    mkdir -p "$aside/$(dirname "$1")"
    mv "$1" "$aside/$1"
}

# Deletes a component's lines from its list file, with the attributes and doc comments above them, and prints them.
drop_lines() {
    local list=$1 name=$2 lines
    lines="^ *(pub([(][a-z]+[)])? +)?mod $name;|^ *&$name::[A-Za-z0-9_]+,"
    grep -nE "$lines" "$list" | sed "s|^|  $list:|"
    if [[ ! -e $aside/$list ]]; then
        mkdir -p "$aside/$(dirname "$list")"
        cp -p "$list" "$aside/$list"
    fi
    awk -v lines="$lines" '
        $0 ~ lines { above = ""; next }
        /^ *(#\[|\/\/\/)/ { above = above $0 "\n"; next }
        { printf "%s%s\n", above, $0; above = "" }' "$list" >"$list.new"
    mv "$list.new" "$list"
}

remove() {
    local component=$1 name path
    name=$(basename "$component")
    drop_lines "$(dirname "$component")/mod.rs" "$name"
    {
        printf '%s\n' "$component" "$component.rs"
        tests_of "$component"
        printf '%s\n' migrations/*/[0-9][0-9][0-9][0-9]_"$name".sql
    } | while IFS= read -r path; do
        [[ ! -e $path ]] || put_aside "$path"
    done
}

restore() {
    cp -Rp "$aside/." .
    rm -rf "$aside"
    mkdir "$aside"
}

# Checks the tree without the given components, and puts them back.
check_without() {
    local label=$1 begin=$SECONDS component output verdict=compiles
    shift
    printf 'Without %s:\n' "$label"
    if (($# == 1)); then
        remove "$1"
    else
        for component in "$@"; do
            remove "$component" >/dev/null
        done
    fi
    # Files that were put back are older than the last build, so cargo might see no change.
    touch src/lib.rs
    if ! output=$(cargo check --quiet --tests --locked 2>&1); then
        verdict="DOES NOT COMPILE"
        failed+="  $label"$'\n'
    fi
    # Without several components, code that they share is unused: such warnings tell nothing.
    if [[ -n $output && ($# -eq 1 || $verdict != compiles) ]]; then printf '%s\n' "$output"; fi
    printf '  %s (%s s)\n' "$verdict" "$((SECONDS - begin))"
    restore
}

names() {
    local component names=""
    for component in "$@"; do
        names+=", $(basename "$component")"
    done
    printf '%s\n' "${names#, }"
}

check_each() {
    local component
    for component in "$@"; do
        check_without "$(basename "$component")" "$component"
    done
    check_without "all $# removable components" "$@"
}

# Code fails to compile without a component if it names that component: the code that always stays, or another removable
# component. So each component must be absent from one check at which another one is present, for every pair of them. Numbers
# them, and for each binary digit removes first those that have a 0 there, then those that have a 1: two numbers differ in
# at least one digit.
check_groups() {
    local digit value number group component
    for ((digit = 1; digit < $#; digit *= 2)); do
        for value in 0 "$digit"; do
            number=0
            group=()
            for component in "$@"; do
                if (((number & digit) == value)); then group+=("$component"); fi
                number=$((number + 1))
            done
            check_without "$(names "${group[@]}")" "${group[@]}"
        done
    done
    check_without "all $# removable components" "$@"
}

all=$(components)
sources=$(sources)
failed=""
started=$SECONDS

case $#:${1:-} in
    0:)
        list
        exit 0
        ;;
    1:--all | 1:--groups)
        targets=()
        while IFS= read -r component; do
            targets+=("$component")
        done < <(list | awk '!/stays$/ { print "src/" $2 "/" $1 }')
        ((${#targets[@]} > 0)) || die "No component is removable:" "$(list)"
        prepare
        if [[ $1 == --all ]]; then check_each "${targets[@]}"; else check_groups "${targets[@]}"; fi
        ;;
    1:[a-z]*)
        component=$(grep -E "/$1\$" <<<"$all" || true)
        [[ -n $component ]] || die "There is no component called $1. Those there are:" "$(list)"
        [[ $component != *$'\n'* ]] || die "$1 is the name of several components:" "$component"
        ! is_default "$component" || die "$1 cannot be removed: it is the default vendor."
        used=$(users "$component" <<<"$sources")
        [[ -z $used ]] || die "$1 cannot be removed: other code uses it. Remove these first, or move what they need:" "$used"
        prepare
        check_without "$1" "$component"
        ;;
    *)
        die "usage: scripts/without.sh [<component> | --all | --groups]"
        ;;
esac

[[ -z $failed ]] || die "The tree does not compile without:" "${failed%$'\n'}"
printf 'Removal holds (%s s).\n' "$((SECONDS - started))"
