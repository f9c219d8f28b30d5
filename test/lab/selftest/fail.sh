# SPDX-License-Identifier: Apache-2.0
echo 'this is the last line'
exit 3
