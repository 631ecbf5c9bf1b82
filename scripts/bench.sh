#!/usr/bin/env bash
# Benchmarks, each a ratio measured in one run on this machine. Usage:
#   scripts/bench.sh throughput [--rounds N] [--quick]   training speed beside PyTorch's (installs python3-torch)
#   scripts/bench.sh seng [--rounds N] [--variant V]     what SENG costs over SGD: ordinary and refresh steps; V: f32 bf16 overlap
#   scripts/bench.sh state                               pulling state from a peer beside raw loopback TCP
#   scripts/bench.sh steady [--steps N] [--jobs N]       what sengd itself costs while 8 actors train: CPU, memory, files
#   scripts/bench.sh checkpoint [--only CASES]           for how long a checkpoint holds training up
#   scripts/bench.sh elastic [--kills N]                 kills, scaling, stops, a new daemon: what they cost, beside the goals
#   scripts/bench.sh kernels                             the engine and the optimizer by themselves, per layer
#   scripts/bench.sh data [--cifar DIR]                  reading pictures beside torchvision's loader, and beside lenet
#   scripts/bench.sh shapes [--run NETWORK...]           SENG's cost table for networks of real size, and steps of them
#   scripts/bench.sh parity                              an exported network in PyTorch: names, shapes, logits
# Results are printed as tables and written to build/bench/*.json.
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit ;; esac
cd "$(dirname "$0")/.."
what=${1:-}
shift || true
case $what in
  throughput)
    scripts/packages.sh build bench
    scripts/build.sh release
    exec python3 scripts/bench/throughput.py "$@" ;;
  seng)
    scripts/packages.sh build
    scripts/build.sh release
    exec python3 scripts/bench/seng_cost.py "$@" ;;
  parity)
    scripts/packages.sh build bench
    scripts/build.sh release logits_bench
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    for network in lenet resnet18; do
      build/release/bin/logits_bench "$directory" "$network"
      /usr/bin/python3 scripts/bench/pytorch_logits.py "$directory" "$network"
    done ;;
  state)
    scripts/packages.sh build
    scripts/build.sh release state_bench
    exec build/release/bin/state_bench "$@" ;;
  steady)
    scripts/packages.sh build
    scripts/build.sh release sengd sengctl seng-actor
    exec python3 scripts/bench/steady.py "$@" ;;
  checkpoint)
    scripts/packages.sh build
    scripts/build.sh release sengd sengctl seng-actor
    exec python3 scripts/bench/checkpoint.py "$@" ;;
  elastic)
    scripts/packages.sh build
    scripts/build.sh release sengd seng-actor sengctl state_bench coordination_bench
    exec python3 scripts/bench/elastic.py "$@" ;;
  data)
    scripts/packages.sh build vision
    scripts/build.sh release sengd sengctl seng-actor data_bench
    exec python3 scripts/bench/data.py "$@" ;;
  shapes)
    scripts/packages.sh build
    scripts/build.sh release sengd sengctl seng-actor
    exec python3 scripts/bench/shapes.py "$@" ;;
  kernels)
    scripts/packages.sh build
    scripts/build.sh release engine_bench optim_bench
    build/release/bin/engine_bench "$@"
    exec build/release/bin/optim_bench "$@" ;;
  *)
    sed -n '2,13p' "$0" | sed 's/^# \{0,1\}//' >&2
    [ -z "$what" ] || echo "bench.sh: unknown benchmark '$what'; above are those that there are" >&2
    exit 2 ;;
esac
