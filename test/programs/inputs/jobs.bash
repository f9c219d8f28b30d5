# SPDX-License-Identifier: Apache-2.0
# Job control as at a prompt: stopped, continued, ended; a pipeline as one job; a job in the foreground.
set -m
sleep 300 &
kill -STOP %1
until jobs -s | grep -q sleep; do sleep 0.05; done
jobs
kill -CONT %1
jobs -r | wc -l
kill %1
wait %1
echo "ended with $?"
sleep 300 | cat &
kill -TERM -- "-$(jobs -p %1)"
wait %1
echo "pipeline ended with $?"
(sleep 0.2; exit 7) &
fg
echo "in the foreground: $?"
while read -r what number; do echo "$number $what"; done <<EOF
here $((6 * 7))
EOF
exit 5
