# SPDX-License-Identifier: Apache-2.0
# A machine with DKMS: it is told of the module, builds it for the running kernel and, called as a kernel's package
# calls it, for a second one; uninstalling leaves DKMS and everything else as they were.
set -eu
. test/lab/suites/machine.sh
inside "dkms --version" || skip "no dkms for this release"

say "the whole installation"
inside "node dist/cli/kontain-install.js --yes --offline --verbose" || fail "not installed"
check_installed
inside "dkms status" | tee /run/out
grep -q "^kkm/1.0.0, $release, x86_64: installed" /run/out || fail "DKMS does not say that it is installed"
[ ! -e "$machine/etc/kernel/postinst.d/zz-kontain-kkm" ] || fail "a hook of our own beside DKMS"

say "a second installation changes nothing"
inside "node dist/cli/kontain-install.js --yes --offline" | tee /run/out
grep -q 'everything is in place' /run/out || fail "it planned something"

if [ -n "$second" ]; then
  say "kernel $second is installed: DKMS builds the module for it"
  inside "/etc/kernel/postinst.d/dkms $second"
  inside "dkms status -m kkm -k $second" | grep -q installed || fail "no module for $second"
fi
inside "node dist/cli/kontain.js doctor --offline --only KKM-DEV-002,KKM-MOD,KKM-MON-002" ||
  fail "the device is not what the doctor wants"

say "uninstall"
inside "node dist/cli/kontain.js uninstall --yes"
[ ! -e /dev/kkm ] && ! grep -q '^kkm ' /proc/modules || fail "the module is still loaded"
[ -z "$(inside "dkms status")" ] || fail "DKMS still knows it: $(inside "dkms status")"
differences | grep -v "^modules ./${second:-none}/modules\." >/run/differences || true
cat /run/differences
[ ! -s /run/differences ] || fail "uninstalling left a difference"
say "done"
echo "installed by DKMS on /dev/kkm under $release${second:+, built for $second}, and gone without a trace"
