#!/bin/sh
# Real first boots of real root file systems against the real server, in namespaces of this machine.
#   usage: run.sh [words]      only the tests whose name holds one of the words
# Needs root on Debian 12 (it installs its own tools by apt). ROLLCALL_LAB_CACHE keeps root file systems between runs.
# Exit code 0 and a loud sentence where there are no namespaces: nothing was tested then.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

skip() {
  printf '\n#### FIRST-BOOT TESTS SKIPPED: %s\n#### Nothing about first boots was tested on this machine.\n\n0 passed, 0 failed\n' "$1"
  exit 0
}

[ "$(uname -s)" = Linux ] || skip 'this is not Linux'
[ "$(id -u)" = 0 ] || skip 'not root'
command -v apt-get >/dev/null || skip 'this is not Debian'
unshare --net --mount --pid --fork true 2>/dev/null || skip 'namespaces are not allowed here'

export ROLLCALL_LAB_CACHE="${ROLLCALL_LAB_CACHE:-/var/cache/rollcall-lab}"
export ROLLCALL_LAB_ID="$$"
"$here/roots.sh" "$ROLLCALL_LAB_CACHE"

cd "$here/../.."
# The lab lives in its own network, and dies whole with its first process.
# shellcheck disable=SC2016 # the inner shell expands them
exec unshare --net --mount --pid --fork --kill-child --mount-proc \
  sh -c 'node --import tsx "$0" "$@" & main=$!; trap "kill $main" TERM INT; wait $main' "$here/main.ts" "$@"
