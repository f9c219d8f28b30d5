#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds and runs the unit tests of native/: every test/native/*.cc is one program, linked with a library of all native
# sources but the doors (km/main.cc, binding/).
#   test/native/build.sh [--build-only] [name...]     KM_TEST_OUT: where objects go (default build/test-native)
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${KM_TEST_OUT:-build/test-native}
flags=(-std=c++20 -fno-exceptions -fno-rtti -Wall -Wextra -Werror -O2 -g -fPIE -pthread -D_GNU_SOURCE -I.)
mkdir -p "$out"

run=yes
if [ "${1:-}" = --build-only ]; then run=no; shift; fi
if [ $# -eq 0 ]; then set -- $(basename -s .cc -a test/native/*.cc); fi

newest_header=$(find native test/native -name '*.h' -o -name '*.def' -o -name '*.inc' | xargs ls -t | head -n 1)
compile() {  # source
  local object
  object=$out/$(echo "$1" | tr / _).o
  if [ "$object" -nt "$1" ] && [ "$object" -nt "$newest_header" ]; then return; fi
  g++ "${flags[@]}" -c "$1" -o "$object" || { rm -f "$object"; return 1; }
}

jobs=()
sources=$(find native -path native/binding -prune -o \( -name '*.cc' -o -name '*.S' \) -print | grep -v '^native/km/main.cc$' | sort)
for source in $sources; do
  compile "$source" &
  jobs+=($!)
  if [ ${#jobs[@]} -ge 2 ]; then wait "${jobs[0]}"; jobs=("${jobs[@]:1}"); fi
done
for job in "${jobs[@]}"; do wait "$job"; done
rm -f "$out/libkm.a"
ar rcs "$out/libkm.a" "$out"/native_*.o

status=0
for name in "$@"; do
  compile "test/native/$name.cc"
  g++ -pie -pthread -o "$out/$name" "$out/test_native_$name.cc.o" "$out/libkm.a"
  if [ $run = yes ]; then timeout 120 "$out/$name" || status=1; fi
done
exit $status
