#!/usr/bin/env bash
# From a fresh clone to a trained network; usage() says what it does.
set -euo pipefail

job=scripts/jobs/fashion_lenet_seng.yaml
usage() {
  cat <<TEXT
usage: scripts/quickstart.sh [--set KEY.PATH=VALUE]...

Installs the Debian packages that are missing, builds, starts a sengd of its own, trains LeNet on Fashion-MNIST with
SENG in two actor processes, shows the progress and the result, and stops what it started. Ctrl-C stops it all.

  --set KEY.PATH=VALUE   change the job ($job), for example --set epochs=2
  --help                 this text

A run replaces what the run before left in build/quickstart: its jobs, checkpoints and exported network.
TEXT
}

for word in "$@"; do
  case $word in -h | --help) usage; exit 0 ;; esac
done
settings=()
while [ $# -gt 0 ]; do
  case $1 in
    --set=*) settings+=("$1"); shift ;;
    --set) [ $# -ge 2 ] || { echo "quickstart.sh: --set needs KEY.PATH=VALUE" >&2; exit 2; }
      settings+=("$1" "$2"); shift 2 ;;
    *) echo "quickstart.sh: unknown option '$1'; --help lists them" >&2; exit 2 ;;
  esac
done

cd "$(dirname "$0")/.."
bold=$'\033[1m' plain=$'\033[0m'
[ -t 2 ] || bold='' plain=''
# Its reader may have gone.
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain" >&2 || true; }

say "1/4 packages"
scripts/packages.sh build
say "2/4 build (build/release)"
scripts/build.sh release sengd sengctl seng-actor

bin=$PWD/build/release/bin
# Before anything of the run before is touched.
refusal=$("$bin/sengctl" validate "$job" "${settings[@]}" 2>&1 >/dev/null) || {
  code=$?
  printf '%s\n' "$refusal" >&2
  exit "$code"
}

say "3/4 sengd (what the run before left in build/quickstart is replaced)"
mkdir -p build/quickstart
# No child may hold the lock, or a run that is killed would keep the next one away: 9>&- at each.
exec 9>build/quickstart/lock
flock -n 9 || { echo "quickstart.sh: another quickstart is running in this clone" >&2; exit 1; }
state=$PWD/build/quickstart/state
# The name of a Unix socket is at most 107 bytes long.
[ ${#state} -le 70 ] || state=${TMPDIR:-/tmp}/seng-quickstart-$(id -u)-$(cksum <<<"$PWD" 9>&- | cut -d ' ' -f 1 9>&-)

ctl() { "$bin/sengctl" --state-dir "$state" "$@" 9>&-; }

# The sengctl that shows the progress; its number lies in a file for the case that this script is killed.
stop_follower() {
  local pid
  pid=$(cat build/quickstart/follower 2>/dev/null 9>&-) || return 0
  rm -f build/quickstart/follower 9>&-
  [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" 9>&-) == "$bin/sengctl --state-dir $state "* ]] || return 0
  kill -KILL "$pid" 2>/dev/null || true  # a milder signal has it say that the job goes on
  wait "$pid" 2>/dev/null || true        # or bash reports its end
}

stop_daemon() {
  local pid tenths
  pid=$(ctl version -o json 2>/dev/null |
    python3 -c 'import json,sys; print(json.load(sys.stdin)["daemon"]["pid"])' 2>/dev/null 9>&-) || return 0
  kill -TERM "$pid" 2>/dev/null || return 0
  for ((tenths = 0; tenths < 1200; ++tenths)); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1 9>&-
  done
  echo "quickstart.sh: sengd (process $pid) does not stop" >&2
  return 1
}

clean_up() {
  trap '' INT TERM HUP  # nothing stops the stopping; its children inherit this
  set +e
  stop_follower
  stop_daemon || return
  [ -z "$interrupted" ] || say "Stopped: nothing of it runs any more. The job is kept; to go on with it:
  $bin/sengd --state-dir $state --slots 2
  $bin/sengctl --state-dir $state watch 1
The next quickstart removes it."
}
interrupted=
interrupt() {  # EXIT_CODE
  trap '' INT TERM HUP
  interrupted=yes
  say "stopping what was started ..."
  exit "$1"
}

stop_follower
stop_daemon  # both left by a run that was killed
rm -rf "$state" build/quickstart/fashion_lenet.safetensors
trap clean_up EXIT
trap 'interrupt 130' INT
trap 'interrupt 143' TERM
trap 'interrupt 129' HUP
# In sessions of their own, a terminal's Ctrl-C reaches this script alone. It waits for a child in the background,
# since bash puts signals off while one in the foreground runs.
setsid "$bin/sengd" --state-dir "$state" --slots 2 9>&-

say "4/4 training: $job, 2 actors"
setsid "$bin/sengctl" --state-dir "$state" submit "$job" --follow "${settings[@]}" 9>&- &
follower=$!
echo "$follower" >build/quickstart/follower
code=0
wait "$follower" || code=$?
rm -f build/quickstart/follower
if [ "$code" -eq 0 ]; then
  ctl export 1 --output build/quickstart/fashion_lenet.safetensors --force
  say "Done. The trained network: build/quickstart/fashion_lenet.safetensors (README.md: loading it in PyTorch)."
fi
exit "$code"
