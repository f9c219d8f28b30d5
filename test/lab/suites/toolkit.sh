# SPDX-License-Identifier: Apache-2.0
# Tests of the checkout in the guest. Its node, km and payloads are the host's, over 9p.
#   TOOLKIT_TESTS        AVA files or folders
#   TOOLKIT_MATCH        only tests whose title matches (AVA's --match)
#   KONTAIN_TEST_DEVICE  what km runs on
set -eu
km=${KONTAIN_KM:-build/bin/km}
[ -x "$km" ] || { echo "$km is not built: npm run build:native"; exit 77; }
insmod "$LAB_SUITE/kkm.ko"
# What names no device must find the one under test: it is the only one then.
[ "${KONTAIN_TEST_DEVICE:-}" != /dev/kkm ] || rm -f /dev/kvm
status=0
# The files are named, not found; the names are words of their own.
# shellcheck disable=SC2086
node node_modules/ava/entrypoints/cli.mjs --concurrency=1 --timeout=30m ${TOOLKIT_MATCH:+--match="$TOOLKIT_MATCH"} \
  $TOOLKIT_TESTS || status=$?
# Nothing may be left that holds the module: no machine, no companion.
for turn in 1 2 3 4 5 6 7 8 9 10; do
  rmmod kkm 2>/dev/null && exit $status
  sleep 1
done
ps | grep -v ' \[' | tail -20
echo "kkm is still in use after the tests"
exit 1
