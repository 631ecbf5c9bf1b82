#!/usr/bin/env bash
# Makes a folder that runs on another x86-64 Linux with glibc >= 2.36, moved anywhere: programs, the shared libraries that
# they need (but for glibc and CUDA's), tests, timing programs, the check of a GPU, job files; and a tarball of it.
#   scripts/bundle.sh [--architectures "80;86;89;90;100"] [--no-build] [OUT]      default OUT: build/bundle
# CUDA's libraries are looked for on the other machine: /usr/local/cuda, OUT/cuda (a link or copy), LD_LIBRARY_PATH.
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit ;; esac
cd "$(dirname "$0")/.."
architectures="80;86;89;90;100" build=1 out=build/bundle
while [ $# -gt 0 ]; do
  case $1 in
    --architectures)
      [[ ${2:-} =~ ^(native|[0-9]+a?(;[0-9]+a?)*)$ ]] || { echo "bundle.sh: --architectures '${2:-}': expected native, or numbers such as 80;90" >&2; exit 2; }
      architectures=$2; shift ;;
    --no-build) build= ;;
    -*) echo "bundle.sh: unknown option '$1'; expected --architectures or --no-build" >&2; exit 2 ;;
    *) out=$1 ;;
  esac
  shift
done
bin=build/release/bin
programs=(sengd sengctl seng-actor)
tests=(parity_tests actors_nn_tests actors_optim_tests)
benches=(engine_bench optim_bench)

if [ -n "$build" ]; then
  before=$(sed -n 's/^SENG_CUDA_ARCHITECTURES:STRING=//p' build/release/CMakeCache.txt 2>/dev/null || true)
  restore() {  # a developer's own choice comes back, also when this is interrupted
    [ -z "$before" ] || [ "$before" = "$architectures" ] || cmake build/release "-DSENG_CUDA_ARCHITECTURES=$before" >/dev/null
  }
  trap restore EXIT
  SENG_CMAKE_ARGS="-DSENG_CUDA_ARCHITECTURES=$architectures" scripts/build.sh release all "${benches[@]}"
fi

version=$(sed -n 's/^project(seng VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
name=seng-$version-linux-x86_64
rm -rf "${out:?}/$name"
mkdir -p "$out/$name/bin" "$out/$name/lib"
root=$(cd "$out/$name" && pwd)
files=("${programs[@]/#/$bin/}" "${tests[@]/#/$bin/}" "${benches[@]/#/$bin/}")
for library in libseng_cuda.so libseng_nccl.so; do
  [ ! -e "$bin/$library" ] || files+=("$bin/$library")
done
install -m 755 "${files[@]}" "$root/bin"
mkdir -p "$root/scripts/bench"
cp -r scripts/gpu "$root/scripts"
cp scripts/bench/cluster.py "$root/scripts/bench"
rm -rf "$root"/scripts/*/__pycache__
cp -r scripts/jobs README.md LICENSE "$root"

# What they need, from where the linker finds it here. glibc is the machine's; CUDA's are too large, and its driver's.
ldd "$root"/bin/* | awk '/=> \// { print $3 }' | sort -u | while read -r library; do
  case $(basename "$library") in
    ld-linux* | libc.so* | libm.so* | libpthread.so* | libdl.so* | librt.so* | libresolv.so* | libcu* | libnv* | libnccl* | libseng*) ;;
    *) install -m 644 "$(readlink -f "$library")" "$root/lib/$(basename "$library")" ;;
  esac
done
strip --strip-unneeded "$root"/bin/* "$root"/lib/* 2>/dev/null || true

cat >"$root/RUN" <<'TEXT'
bin/sengd, bin/sengctl: as in README.md.        bin/*_tests: tests; bin/*_bench: timing.
On a machine with a GPU: scripts/gpu/check_gpu.py (Python 3.9) says whether all of it works there, and how fast; of that,
bin/parity_tests compares every operation of the CPU and CUDA backends and prints times.
CUDA 13's cuBLAS and cuSOLVER, cuDNN 9 and NCCL are looked for in /usr/local/cuda/lib64, in the folder (or link) cuda beside bin, and in LD_LIBRARY_PATH.
TEXT
tar -C "$out" -I 'xz -T2 -3' -cf "$out/$name.tar.xz" "$name"
size=$(du -m "$out/$name.tar.xz" | cut -f1)
[ "$size" -lt 60 ] || { echo "bundle.sh: $out/$name.tar.xz has $size MB: a library is in it that the other machine should have" >&2; exit 1; }
echo "$out/$name ($(du -sm "$root" | cut -f1) MB), $out/$name.tar.xz ($size MB)"
