#!/usr/bin/env bash
# Builds into build/<preset>. Usage: scripts/build.sh [release|debug|asan|tsan|fuzz] [ninja target]...
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit ;; esac
cd "$(dirname "$0")/.."
preset=${1:-release}
case $preset in
  release | debug | asan | tsan | fuzz) ;;
  *) echo "build.sh: unknown preset '$preset'; expected release, debug, asan, tsan or fuzz" >&2; exit 2 ;;
esac
shift || true
# Two builds in one folder break each other.
mkdir -p build
exec 8>"build/$preset.lock"
flock -n 8 || { echo "build.sh: another build into build/$preset goes on; waiting for it" >&2; flock 8; }
extra=()
command -v ccache >/dev/null && extra+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! cmake --preset "$preset" "${extra[@]}" ${SENG_CMAKE_ARGS:-} >"$log" 2>&1; then
  # From its last error on; what stands before is mostly what it found.
  awk '/^CMake Error/ { lines = "" } { lines = lines $0 "\n" } END { printf "%s", lines }' "$log" | tail -n 40 >&2
  echo "build.sh: cmake failed: above. Where a package is missing, scripts/packages.sh installs it" >&2
  exit 1
fi
rm -f "$log"
exec ninja -C "build/$preset" ${SENG_BUILD_JOBS:+-j "$SENG_BUILD_JOBS"} "$@"
