# SPDX-License-Identifier: Apache-2.0
# kkm/build.sh must tell apart why a module is not taken: run by the lab in guests booted so that it is not. The kernel
# argument kkm_load=CASE says how this one was.
set -u
case=$(sed -n 's/.*kkm_load=\([^ ]*\).*/\1/p' /proc/cmdline)
failed=0
cp "$LAB_SUITE/build.sh" "$LAB_SUITE/kkm.ko" /tmp/
cd /tmp

# expect STATUS WORDS: build.sh ends so and says so, in one line
expect() {
  said=$(sh ./build.sh --load-only 2>&1)
  status=$?
  echo "status $status: $said"
  if [ "$status" != "$1" ]; then
    echo "FAIL: status $1 was expected"
    failed=1
  fi
  case $said in
    *"$2"*) ;;
    *) echo "FAIL: it should say '$2'"; failed=1 ;;
  esac
  if [ "$(printf '%s\n' "$said" | wc -l)" != 1 ]; then
    echo "FAIL: that is not one line"
    failed=1
  fi
}

case $case in
  kkm-load)
    expect 0 loaded
    [ -c /dev/kkm ] || { echo "FAIL: no /dev/kkm"; failed=1; }
    expect 24 "loaded already"
    rmmod kkm
    cp kkm.ko good.ko
    # It says it is for a kernel built otherwise; the version alone does not count where symbols have versions.
    sed 's/\(vermagic=[^ ]* S\)MP/\1XX/' good.ko >kkm.ko
    expect 22 "not for the running kernel"
    head -c 1000 good.ko >kkm.ko
    expect 22 "not for the running kernel"
    rm kkm.ko
    expect 10 "no kkm.ko"
    cp good.ko kkm.ko
    echo nobody:x:65534:65534:nobody:/:/bin/sh >>/etc/passwd
    chmod 755 /tmp
    said=$(su nobody -c "sh /tmp/build.sh --load-only" 2>&1)
    [ $? = 24 ] || { echo "FAIL: not root: $said"; failed=1; }
    echo 1 >/proc/sys/kernel/modules_disabled
    expect 21 modules_disabled
    ;;
  kkm-load-locked)
    [ -d /sys/kernel/security/lockdown ] || mount -t securityfs securityfs /sys/kernel/security
    grep -qF '[integrity]' /sys/kernel/security/lockdown || { echo "this kernel has no lockdown"; exit 77; }
    expect 20 "sign kkm.ko"
    ;;
  kkm-load-signed)
    [ "$(cat /sys/module/module/parameters/sig_enforce 2>/dev/null)" = Y ] ||
      { echo "this kernel has no module signatures"; exit 77; }
    expect 20 "sign kkm.ko"
    ;;
  kkm-load-noxsave)
    expect 23 XSAVE
    # busybox's insmod tries each of the two system calls: twice the same line
    dmesg | sed -n 's/^\[[^]]*\] \(kkm: cannot load.*\)/\1/p' | sort | uniq -c >lines
    cat lines
    [ "$(wc -l <lines)" = 1 ] || { echo "FAIL: not one line in dmesg"; failed=1; }
    ;;
  *) echo "kkm_load=$case is no case of this script"; failed=1 ;;
esac
if grep -q '^kkm ' /proc/modules; then
  echo "FAIL: kkm is still loaded"
  failed=1
fi
exit $failed
