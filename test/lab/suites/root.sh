# SPDX-License-Identifier: Apache-2.0
# The whole-root guest: the host's programs run, writes stay in the guest, the share reaches the host.
set -eu
[ -f package.json ] || { echo "the checkout is not the working directory: $(pwd)"; exit 1; }
[ "$(readlink /proc/1/exe)" = /run/kontain-lab/agent ]
echo changed >package.json
grep -qx changed package.json
ls -l /usr/bin | sort | sha256sum
awk 'BEGIN { exit 0 }'
echo "from $(uname -r)" >"$LAB_SHARE/note"
grep -q "$(uname -r)" "$LAB_SHARE/note"
"$LAB_SUITE/kvm-probe" /dev/kvm
modprobe dummy 2>/dev/null && grep -q '^dummy ' /proc/modules || echo "no modprobe here"
