#!/usr/bin/env bash
# Installs what is missing, builds, runs every test. Usage: scripts/test.sh [-R|-E|-L|-LE EXPRESSION]..., as ctest selects
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit ;; esac
cd "$(dirname "$0")/.."
scripts/run_tests.py --check-options "$@"
scripts/packages.sh build
scripts/build.sh "${SENG_PRESET:-release}"
exec scripts/run_tests.py "build/${SENG_PRESET:-release}" -j 3 "$@"
