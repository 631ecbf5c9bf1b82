#!/usr/bin/env bash
# The checks beyond the tests. Usage: scripts/check.sh [format|layers|asan|tsan|tidy|fuzz]...   (default: all)
#   asan   unit and system tests under AddressSanitizer and UndefinedBehaviorSanitizer (without the slowest)
#   tsan   the exchange, lanes and session tests under ThreadSanitizer
#   fuzz   every libFuzzer target for SENG_FUZZ_SECONDS (default 60) seconds
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit ;; esac
cd "$(dirname "$0")/.."

# Tests that count processor time: instrumented code and the sanitizers' own threads use some. They run in release.
counts_cpu='WaitsWithoutSpinning|WaitingLanesSleep'

format() { scripts/format.sh --check; }
layers() { python3 scripts/check_layers.py; }
asan() {
  scripts/build.sh asan tests_but_parity
  ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1 \
    LSAN_OPTIONS=suppressions="$PWD/tests/support/lsan.supp":print_suppressions=0 \
    scripts/run_tests.py build/asan -j 2 -L 'unit|exchange|system' \
    -E "Resnet18S|Resized|Balance|AStoppedActor|Killed.ActorsAreReplaced|ActorsOutlive|SameBitsOfMemory|OnEmulatedGpus|OverEmulatedNccl|Disturbed|ByAnotherJob|$counts_cpu"
}
tsan() {
  scripts/build.sh tsan actors_exchange_tests actors_state_tests actors_engine_tests actors_tests
  TSAN_OPTIONS=suppressions="$PWD/tests/support/tsan.supp":halt_on_error=1:second_deadlock_stack=1 \
    scripts/run_tests.py build/tsan -j 2 -R '^actors/(exchange|state)/|Lanes|Session' \
    -E "$counts_cpu"
}
tidy() {
  # Without precompiled headers, as clang cannot read g++'s; each file by itself, as clang-tidy asks how.
  cmake --preset release -B build/tidy -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DSENG_BATCHES=OFF -DSENG_CUDA=OFF >/dev/null
  git ls-files -- '*.cpp' | grep -v -e _fuzz.cpp -e engine/cuda/ -e emulated_cuda/ |
    xargs -P 2 -n 4 clang-tidy --quiet -p build/tidy
}
fuzz() {
  scripts/build.sh fuzz
  for target in build/fuzz/bin/*_fuzz; do
    name=$(basename "$target")
    corpus=$(mktemp -d)
    seeds=tests/golden/fuzz/${name%_fuzz}
    [ ! -d "$seeds" ] || cp "$seeds"/* "$corpus"
    echo "fuzz $name"
    "$target" -max_total_time="${SENG_FUZZ_SECONDS:-60}" -rss_limit_mb=2048 -timeout=10 -verbosity=0 \
      -artifact_prefix="build/fuzz/$name-" "$corpus"
    rm -rf "$corpus"
  done
}

[ $# -gt 0 ] || set -- format layers asan tsan tidy fuzz
scripts/packages.sh build check
for check in "$@"; do
  case $check in
    format | layers | asan | tsan | tidy | fuzz) echo "== $check"; "$check" ;;
    *) echo "check.sh: unknown check '$check'; expected format, layers, asan, tsan, tidy or fuzz" >&2; exit 2 ;;
  esac
done
