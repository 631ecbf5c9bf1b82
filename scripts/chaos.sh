#!/usr/bin/env bash
# Faults on a training job, by a seeded schedule; at the end the trained bits must be those of the undisturbed run.
# Usage: scripts/chaos.sh [--seed S] [--minutes M] [--optimizer seng|sgd] ...   (--help lists all)
set -euo pipefail
cd "$(dirname "$0")/.."
for word in "$@"; do
  case $word in -h | --help) exec python3 scripts/chaos.py --help ;; esac
done
scripts/packages.sh build
scripts/build.sh release sengd seng-actor sengctl
exec python3 scripts/chaos.py "$@"
