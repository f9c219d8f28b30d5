# SPDX-License-Identifier: Apache-2.0
# Succeeds, but leaves what looks like a kernel warning in the log.
echo '<4>WARNING: CPU: 0 PID: 1 at lab/selftest' >/dev/kmsg
