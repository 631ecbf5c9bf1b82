#!/usr/bin/env bash
# Installs the Debian packages that are missing. Usage: scripts/packages.sh [build|check|bench|plot|vision]...
#   build  what building and running needs (default)   check  the tools of scripts/check.sh   bench  PyTorch's baseline
#   plot   pictures of experiments   vision  torchvision's loader, for its benchmark
# Does nothing, and needs no rights, when all are there.
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit ;; esac

build=(g++ cmake ninja-build pkg-config git ca-certificates python3
  libzmq3-dev cppzmq-dev libmsgpack-cxx-dev libboost-program-options-dev libboost-context-dev libdnnl-dev libopenblas-dev liblapacke-dev
  zlib1g-dev libturbojpeg0-dev libpng-dev libxxhash-dev libyaml-cpp-dev nlohmann-json3-dev libspdlog-dev libfmt-dev libexpected-dev libsodium-dev libssl-dev
  libsqlite3-dev libgtest-dev libgmock-dev libbenchmark-dev dataset-fashion-mnist)
check=(clang clang-format clang-tidy libclang-rt-14-dev)
bench=(python3-torch python3-numpy python3-matplotlib libopenblas0-openmp)
plot=(python3-matplotlib)
vision=(python3-torchvision python3-numpy python3-pil)

wanted=()
[ $# -gt 0 ] || set -- build
for group in "$@"; do
  case $group in
    build) wanted+=("${build[@]}") ;;
    check) wanted+=("${check[@]}") ;;
    bench) wanted+=("${bench[@]}") ;;
    plot) wanted+=("${plot[@]}") ;;
    vision) wanted+=("${vision[@]}") ;;
    *) echo "packages.sh: unknown group '$group'; expected build, check, bench, plot or vision" >&2; exit 2 ;;
  esac
done

missing=()
for package in "${wanted[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || {
  echo "packages.sh: no apt-get here. Install the equivalents of: ${missing[*]}" >&2; exit 1; }
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "packages.sh: these packages are missing and need root to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "Installing ${#missing[@]} Debian packages: ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${as_root[@]}" apt-get update -q &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "packages.sh: apt-get failed; its last lines are above" >&2
  exit 1
fi
