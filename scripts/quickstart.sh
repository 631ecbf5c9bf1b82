#!/usr/bin/env bash
# From a fresh clone to a trained network: installs the Debian packages that are missing, builds, starts sengd, trains
# LeNet on Fashion-MNIST with SENG in two actor processes, shows the progress and the result, stops what it started.
# Usage: scripts/quickstart.sh [--set key.path=value]...   (settings of the job, as for sengctl submit)
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }
[ -t 2 ] || say() { printf '\n%s\n' "$*" >&2; }

say "1/4 packages"
scripts/packages.sh build
say "2/4 build (build/release)"
scripts/build.sh release sengd sengctl seng-actor

say "3/4 sengd"
bin=$PWD/build/release/bin
mkdir -p build/quickstart
exec 9>build/quickstart/lock
flock -n 9 || { echo "quickstart.sh: another quickstart is running in this clone" >&2; exit 1; }
state=$PWD/build/quickstart/state
# The name of a Unix socket is at most 107 bytes long.
[ ${#state} -le 70 ] || state=${TMPDIR:-/tmp}/seng-quickstart-$(id -u)

stop_daemon() {
  local pid
  pid=$("$bin/sengctl" --state-dir "$state" version -o json 2>/dev/null |
    python3 -c 'import json,sys; print(json.load(sys.stdin)["daemon"]["pid"])' 2>/dev/null) || return 0
  kill -TERM "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
}
stop_daemon        # left by a run that was killed
rm -rf "$state"    # of the run before
trap stop_daemon EXIT
trap 'exit 130' INT TERM
"$bin/sengd" --state-dir "$state" --slots 2 9>&-

say "4/4 training: scripts/jobs/fashion_lenet_seng.yaml, 2 actors"
code=0
"$bin/sengctl" --state-dir "$state" submit scripts/jobs/fashion_lenet_seng.yaml --follow "$@" || code=$?
if [ "$code" -eq 0 ]; then
  "$bin/sengctl" --state-dir "$state" export 1 --output build/quickstart/fashion_lenet.safetensors --force
  say "Done. The trained network: build/quickstart/fashion_lenet.safetensors (opens in PyTorch)."
fi
exit "$code"
