#!/usr/bin/env bash
# Builds into build/<preset>. Usage: scripts/build.sh [release|debug|asan|tsan|fuzz] [ninja target]...
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
case $preset in
  release | debug | asan | tsan | fuzz) ;;
  *) echo "build.sh: unknown preset '$preset'; expected release, debug, asan, tsan or fuzz" >&2; exit 2 ;;
esac
shift || true
extra=()
command -v ccache >/dev/null && extra+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! cmake --preset "$preset" "${extra[@]}" ${SENG_CMAKE_ARGS:-} >"$log" 2>&1; then
  cat "$log" >&2
  echo "build.sh: cmake failed; scripts/packages.sh installs what is missing" >&2
  exit 1
fi
rm -f "$log"
exec ninja -C "build/$preset" ${SENG_BUILD_JOBS:+-j "$SENG_BUILD_JOBS"} "$@"
