# SPDX-License-Identifier: Apache-2.0
# The whole installer in a guest without hardware virtualization: KKM is built from the installed source against the
# kernel's headers, loaded, proved by the payload, and taken back to the byte.
set -eu
export PATH=$PATH:/usr/sbin:/sbin CI=1
release=$(uname -r)
install="node dist/cli/kontain-install.js"
kontain="node dist/cli/kontain.js"
[ -f dist/cli/kontain-install.js ] || { echo "dist/ is not built"; exit 77; }

say() { echo "--- $*"; }
fail() { echo "$*"; exit 1; }

# The kernel's modules are mounted read-only; its headers are not mounted at all.
cache=${KONTAIN_LAB_CACHE:-/root/.cache/kontain-lab}
tree=
for candidate in "$cache"/kernels/*/root; do
  [ -d "$candidate/usr/src/linux-headers-$release" ] && tree=$candidate
done
[ -n "$tree" ] || { echo "no headers of $release in $cache"; exit 77; }
mkdir -p /run/modules
mount -t tmpfs tmpfs /run/modules
mkdir /run/modules/upper /run/modules/work
mount -t overlay -o "lowerdir=/lib/modules/$release,upperdir=/run/modules/upper,workdir=/run/modules/work" \
  overlay "/lib/modules/$release"
for name in "$tree"/usr/src/* "$tree"/usr/lib/linux-kbuild-*; do
  ln -sfn "$name" "${name#"$tree"}"
done
[ -f "/lib/modules/$release/build/Makefile" ] || fail "the headers are not where the kernel looks for them"

# The places an installation may touch: names, modes, owners, times and content of files, targets of links.
picture() {
  ls -a /opt /var/log /var/lib
  for folder in /etc /opt/kontain "/lib/modules/$release" /var/lib/dkms; do
    [ -e "$folder" ] || continue
    find "$folder" -xdev -path "/lib/modules/$release/kernel" -prune -o \
      -type f -printf '%p %m %u:%g %T@ %s\n' -o -printf '%p %m %u:%g %l\n'
    find "$folder" -xdev -path "/lib/modules/$release/kernel" -prune -o -type f -print0 | xargs -0 cat | sha256sum
  done
}

[ ! -e /dev/kvm ] || fail "there is a /dev/kvm: this suite is for machines without"
picture >/run/before

say "without headers and --offline: refused with an id, nothing changed"
mv "/lib/modules/$release/build" /run/build-link 2>/dev/null || { cp -P "/lib/modules/$release/build" /run/build-link; rm "/lib/modules/$release/build"; }
status=0
$install --yes --offline >/run/out 2>&1 || status=$?
cat /run/out
[ $status = 3 ] && grep -q 'reason: headers-missing' /run/out && grep -q "linux-headers-$release" /run/out ||
  fail "not refused as it should be (status $status)"
cp -P /run/build-link "/lib/modules/$release/build"
touch -h -r /run/build-link "/lib/modules/$release/build"
picture | diff /run/before - || fail "a refusal changed something"

say "the whole installation"
$install --yes --offline --verbose
[ -c /dev/kkm ] || fail "no /dev/kkm"
[ "$(stat -c %a:%G /dev/kkm)" = 660:kkm ] || fail "/dev/kkm is $(stat -c %a:%G /dev/kkm)"
/opt/kontain/bin/km --virt-device=/dev/kkm /opt/kontain/tests/hello_test.km lab | grep -qx 'argument 1: lab' ||
  fail "the payload does not run"
[ -f "/lib/modules/$release/updates/kkm.ko" ] && grep -q '^updates/kkm.ko' "/lib/modules/$release/modules.dep" ||
  fail "the module is not installed"
/etc/kernel/postinst.d/zz-kontain-kkm 9.9.9-none || fail "the kernel hook fails for a kernel without headers"
[ ! -e /var/log/kontain-kkm-9.9.9-none.log ] || fail "the kernel hook tried to build for it"

say "a second installation changes nothing"
$install --yes --offline | tee /run/out
grep -q 'everything is in place' /run/out || fail "it planned something"

say "doctor"
$kontain doctor || [ $? = 1 ] || fail "the doctor crashed"
$kontain doctor --only KKM-DEV-002,KKM-MOD-001,KKM-MON-002 || fail "the device is not what the doctor wants"

say "uninstall"
$kontain uninstall --yes
[ ! -e /dev/kkm ] && ! grep -q '^kkm ' /proc/modules || fail "the module is still loaded"
picture | diff /run/before - || fail "uninstalling left a difference"
echo "installed on /dev/kkm under $release, and gone without a trace"
