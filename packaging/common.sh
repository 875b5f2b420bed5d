# Shared by the scripts in this directory, which source it: building the binary, and the files that go with it.
# shellcheck shell=bash

cd "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/.."
script=packaging/$(basename "$0")
target=${CARGO_TARGET_DIR:-$PWD/target}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

die() {
    printf '%s: %s\n' "$script" "$*" >&2
    exit 1
}

# Each argument is PROGRAM:PACKAGE, with the name of the package in Debian.
need() {
    local pair
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || die "${pair%%:*} is missing: install the package ${pair##*:}"
    done
}

# Sets `triple`: Rust's name of an architecture, and `gnu`: that of its tools.
set_target() {
    triple=$1 gnu=
    # This machine's own tools have short names too, and those of a distribution other than Debian only these.
    [ "$triple" = "$(rustc -vV | sed -n 's/^host: //p')" ] || gnu=${triple/-unknown/}-
    # Static programs are linked by the same linker.
    case "$gnu" in x86_64-linux-musl-) gnu= ;; esac
}

# Sets `binary`: the file given after `--binary`, or else one built with the profile `dist`.
find_or_build() {
    if [ "$#" -gt 0 ]; then
        binary=$(realpath -e -- "$1") || die "$1: no such file"
        return
    fi
    # rustup has the standard library of every target; without it, cargo's own message names the missing part.
    if command -v rustup >/dev/null; then rustup target add "$triple" >&2; fi
    local linker=CARGO_TARGET_${triple//-/_}_LINKER
    if [ -n "$gnu" ]; then export "${linker^^}=${gnu}gcc"; fi
    cargo build --locked --profile dist --bin ctl --target "$triple" >&2
    binary=$target/$triple/dist/ctl
}

# Fills `stage`, below the directory from which cargo-deb takes `target/release`: the binary, and man pages, completions
# and documentation, of which the first two come from the binary itself. The arguments, if any, run a binary of `triple`.
fill_stage() {
    stage=$target/$triple/dist/package
    rm -rf "$stage"
    mkdir -p "$stage/man" "$stage/completions" "$stage/doc"
    "${gnu}strip" --strip-all --remove-section=.comment --remove-section=.note -o "$stage/ctl" "$binary"
    "$@" "$stage/ctl" man --dir "$stage/man"
    gzip -9 --no-name "$stage"/man/*.1
    "$@" "$stage/ctl" completions bash >"$stage/completions/ctl"
    "$@" "$stage/ctl" completions zsh >"$stage/completions/_ctl"
    "$@" "$stage/ctl" completions fish >"$stage/completions/ctl.fish"
    fill_doc "$stage/doc"
}

# The pages of docs/ and the README beside them, which therefore loses `docs/` from its links, and the parts for those who have
# the source. `examples/` is where Debian's policy wants it.
fill_doc() {
    local directory
    for directory in . decisions examples pictures schema; do
        mkdir -p "$1/$directory"
        find -L "docs/$directory" -maxdepth 1 -type f ! -name '*.sh' ! -name SUMMARY.md -exec cp -L -t "$1/$directory" {} +
    done
    sed -e '/^## Contributing/,$d' -e 's#docs/##g' README.md >"$1/README.md"
    gzip -9 --no-name --stdout CHANGELOG.md >"$1/changelog.gz"
    list_crates >"$1/crates"
    find "$1" -type f -exec chmod 644 {} +
}

# The crates in the binary, with their licenses.
list_crates() {
    cargo metadata --locked --format-version 1 --filter-platform "$triple" |
        jq -r '(.resolve.nodes | map({(.id): .}) | add) as $nodes
            | def linked: .deps[] | select(any(.dep_kinds[]; .kind == null)) | .pkg;
              def closure($seen): if . == [] then $seen else
                  ([.[] | $nodes[.] | linked] | unique - $seen) as $new | $new | closure($seen + $new) end;
              ([.workspace_members[] | select(test("contrail-ctl"))] | closure(.)) as $ids
            | .packages[] | select(.id as $id | $ids | index($id)) | "\(.name) \(.version)\t\(.license)"' |
        sort
}

# The time of the files is that of the changelog, so that the same input gives the same package.
SOURCE_DATE_EPOCH=$(date -d "$(sed -n 's/^ -- .*>  //p' packaging/debian/changelog | head -n 1)" +%s)
export SOURCE_DATE_EPOCH
