#!/usr/bin/env bash
# Formats the C++ sources in place; --check only says which differ and fails.
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit ;; esac
cd "$(dirname "$0")/.."
list=$(git ls-files --cached --others --exclude-standard -- '*.h' '*.cpp' '*.cu' '*.cuh')
[ -n "$list" ] || { echo "format.sh: no sources found" >&2; exit 1; }
mapfile -t files <<<"$list"
case ${1:-} in
  --check) clang-format --dry-run -Werror "${files[@]}" ;;
  '') clang-format -i "${files[@]}" ;;
  *) echo "format.sh: unknown option '$1'; expected --check or none" >&2; exit 2 ;;
esac
