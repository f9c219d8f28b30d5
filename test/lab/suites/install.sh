# SPDX-License-Identifier: Apache-2.0
# The whole installer on a machine without hardware virtualization: KKM is built from the installed source against the
# kernel's headers, loaded, proved by the payload, built by the kernel package's hook for a second kernel, and taken back
# to the byte.
set -eu
. test/lab/suites/machine.sh
updates=$machine/usr/lib/modules/$release/updates

say "without headers and --offline: refused with an id, nothing changed"
build=$machine/usr/lib/modules/$release/build
mv "$build" /run/build-link
status=0
inside "node dist/cli/kontain-install.js --yes --offline" >/run/out 2>&1 || status=$?
cat /run/out
[ $status = 3 ] && grep -q 'reason: headers-missing' /run/out && grep -q "linux-headers-$release" /run/out ||
  fail "not refused as it should be (status $status)"
mv /run/build-link "$build"
differences >/run/differences
cat /run/differences
[ ! -s /run/differences ] || fail "a refusal changed something"

say "the whole installation, as a new user types it"
# Its `prepare` would compile the checkout again, which is built on the host.
inside "npm_config_ignore_scripts=true npx kontain-install --yes --offline --verbose" || fail "not installed"
check_installed
[ -f "$updates/kkm.ko" ] && grep -q '^updates/kkm.ko' "$machine/usr/lib/modules/$release/modules.dep" ||
  fail "the module is not installed"

say "a second installation changes nothing"
inside "node dist/cli/kontain-install.js --yes --offline" | tee /run/out
grep -q 'everything is in place' /run/out || fail "it planned something"

say "a kernel without headers is installed: the hook fails nothing and builds nothing"
inside "/etc/kernel/postinst.d/zz-kontain-kkm 9.9.9-none" || fail "the kernel hook fails for a kernel without headers"
[ ! -e "$machine/var/log/kontain-kkm-9.9.9-none.log" ] || fail "the kernel hook tried to build for it"

if [ -n "$second" ]; then
  say "kernel $second is installed: its package's hooks build the module for it"
  for hook in "$machine"/etc/kernel/postinst.d/*; do inside "/etc/kernel/postinst.d/${hook##*/} $second"; done
  [ "$(inside "modinfo -F vermagic /lib/modules/$second/updates/kkm.ko" | cut -d ' ' -f 1)" = "$second" ] ||
    fail "no module for $second: $(cat "$machine/var/log/kontain-kkm-$second.log")"
fi

say "doctor"
inside "node dist/cli/kontain.js doctor --offline" || [ $? = 1 ] || fail "the doctor crashed"
inside "node dist/cli/kontain.js doctor --offline --only KKM-DEV-002,KKM-MOD-001,KKM-MON-002,KKM-MOD-006" ||
  fail "the device is not what the doctor wants"

say "uninstall"
inside "node dist/cli/kontain.js uninstall --yes"
[ ! -e /dev/kkm ] && ! grep -q '^kkm ' /proc/modules || fail "the module is still loaded"
# The second kernel's indexes were written anew by its own installation.
differences | grep -v "^modules ./${second:-none}/modules\." >/run/differences || true
cat /run/differences
[ ! -s /run/differences ] || fail "uninstalling left a difference"
say "done"
echo "installed on /dev/kkm under $release${second:+, built for $second}, and gone without a trace"
