#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes the parsers of foreign bytes with libFuzzer and AddressSanitizer (clang; Debian: clang and libclang-rt-*-dev).
#   test/fuzz/run.sh [target] [seconds]   all targets, 60 seconds each, without arguments
#   test/fuzz/run.sh --merge [target]     adds to corpus/ what the runs found and corpus/ lacks
# KM_FUZZ_OUT: where programs and findings go (default build/fuzz). A finding stops the run with status 1 and lies
# there as crash-*.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${KM_FUZZ_OUT:-build/fuzz}
mkdir -p "$out"

cxx=${CXX:-}
for candidate in clang++ clang++-19 clang++-16 clang++-14; do
  [ -n "$cxx" ] || { command -v $candidate > /dev/null && cxx=$candidate; } || true
done
[ -n "$cxx" ] || { echo "fuzz: no clang++; apt-get install clang" >&2; exit 2; }

flags=(-std=c++20 -fno-exceptions -fno-rtti -O1 -g -fPIE -pthread -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined
       -fno-sanitize-recover=undefined)
sources_of() {  # target
  case $1 in
    elf_loader) echo native/base/*.cc native/loader/*.cc native/machine/address_space*.cc ;;
    shebang) echo native/loader/shebang.cc ;;
    port_instruction) echo native/driver/port_instruction.cc ;;
    options) echo native/base/*.cc native/km/options*.cc ;;
    syscalls) echo native/base/*.cc native/syscalls/*.cc native/machine/address_space*.cc ;;
    *) find native \( -path native/binding -o -path native/km/main.cc \) -prune -o \( -name '*.cc' -o -name '*.S' \) -print ;;
  esac
}

build() {  # target
  # -pie: the payload's window must be free for the loader.
  "$cxx" "${flags[@]}" -pie -o "$out/$1" "test/fuzz/$1.cc" $(sources_of "$1")
}

merge=no
if [ "${1:-}" = --merge ]; then merge=yes; shift; fi
known=$(basename -s .cc -a test/fuzz/*.cc | tr '\n' ' ')
targets=${1:-$known}
seconds=${2:-60}

for target in $targets; do
  [ -f "test/fuzz/$target.cc" ] || { echo "fuzz: no target '$target'; there are: $known" >&2; exit 2; }
  build "$target"
  corpus=test/fuzz/corpus/$target
  found=$out/$target.found
  mkdir -p "$found" "$corpus"
  if [ $merge = yes ]; then
    "$out/$target" -merge=1 "$corpus" "$found"
    continue
  fi
  echo "fuzz: $target for $seconds s"
  log=$out/$target.log
  if ! "$out/$target" -max_total_time="$seconds" -max_len=12288 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$out/" "$found" "$corpus" > "$log" 2>&1; then
    tail -n 60 "$log"
    echo "fuzz: $target failed; the input is $(ls -t "$out"/{crash,oom,timeout}-* 2> /dev/null | head -n 1), all output in $log" >&2
    exit 1
  fi
  grep -E '^#[0-9]+\s+(INITED|DONE)|^stat::' "$log"
done
