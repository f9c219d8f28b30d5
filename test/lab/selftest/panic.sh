# SPDX-License-Identifier: Apache-2.0
echo c >/proc/sysrq-trigger
sleep 1000
