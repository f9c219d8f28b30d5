# SPDX-License-Identifier: Apache-2.0
# A kernel that takes only signed modules, without EFI: KKM is refused before anything is changed.
set -eu
export PATH=$PATH:/usr/sbin:/sbin CI=1
[ -f dist/cli/kontain-install.js ] || { echo "dist/ is not built"; exit 77; }
# Not at boot: the modules of the newest kernels carry no signature that the lab's own boot would get through with.
echo 1 >/sys/module/module/parameters/sig_enforce
[ "$(cat /sys/module/module/parameters/sig_enforce)" = Y ]
status=0
node dist/cli/kontain-install.js --yes --offline --device kkm >/run/out 2>&1 || status=$?
cat /run/out
[ $status = 3 ] && grep -q 'reason: signature-required' /run/out && grep -q 'MOK' /run/out || exit 1
[ ! -e /opt/kontain ] && ! grep -q '^kkm:' /etc/group || { echo "the refusal changed something"; exit 1; }
status=0
node dist/cli/kontain.js doctor --offline --only KKM-KERN-005 || status=$?
[ $status = 1 ] || { echo "the doctor does not see it"; exit 1; }
echo "refused as it should be"
