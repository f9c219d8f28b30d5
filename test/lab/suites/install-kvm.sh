# SPDX-License-Identifier: Apache-2.0
# A machine with SVM: /dev/kvm is taken as it is; where only its module is missing, that is loaded, and taken out again.
set -eu
export PATH=$PATH:/usr/sbin:/sbin CI=1
[ -f dist/cli/kontain-install.js ] || { echo "dist/ is not built"; exit 77; }
before=$(ls -a /etc /etc/modules-load.d /opt 2>&1 | sha256sum)
node dist/cli/kontain-install.js --yes --offline | tee /run/out
grep -q 'programs run on /dev/kvm' /run/out
node dist/cli/kontain.js uninstall --yes
[ "$(ls -a /etc /etc/modules-load.d /opt 2>&1 | sha256sum)" = "$before" ]

# The guest's first stage loads them by file; from here on modprobe has to.
rmmod kvm_amd kvm || { echo "kvm cannot be unloaded here"; exit 77; }
rm -f /dev/kvm
node dist/cli/kontain-install.js --yes --offline | tee /run/out
grep -q 'programs run on /dev/kvm' /run/out && grep -qx kvm_amd /etc/modules-load.d/kontain-kvm.conf
node dist/cli/kontain.js uninstall --yes
if grep -q '^kvm_amd ' /proc/modules; then echo "kvm_amd is still loaded"; exit 1; fi
[ "$(ls -a /etc /etc/modules-load.d /opt 2>&1 | sha256sum)" = "$before" ] || { echo "something is left"; exit 1; }
echo "on /dev/kvm, as it was and with its module loaded"
