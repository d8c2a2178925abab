#!/usr/bin/env bash
# run.sh: the header compiles alone and twice, as every promised language and without a warning, and what it says of
# layouts and versions is so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=../../.ci/lib.sh
. .ci/lib.sh

build=$(build_dir)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
strict=(-Wall -Wextra -Wconversion -Wshadow -pedantic -Werror -Iinclude)

# compile LANGUAGE STANDARD COMPILER...
compile() {
    local language=$1 standard=$2; shift 2
    "$@" -x "$language" "-std=$standard" "${strict[@]}" tests/headers/alone.c -o "$work/alone"
    "$work/alone"
    printf '%s as %s\n' "$1" "$standard"
}

read -ra cc <<<"${CC:-cc}"
read -ra cxx <<<"${CXX:-c++}"
for standard in c99 c11; do compile c "$standard" "${cc[@]}"; done
compile c++ c++11 "${cxx[@]}" -Wold-style-cast
if command -v clang >/dev/null; then for standard in c99 c11; do compile c "$standard" clang; done; fi
if command -v clang++ >/dev/null; then compile c++ c++11 clang++ -Wold-style-cast; fi

"${cc[@]}" -std=c11 "${strict[@]}" tests/abi/layout.c -L"$build" -letcdgw -o "$work/layout"
LD_LIBRARY_PATH=$build "$work/layout"
