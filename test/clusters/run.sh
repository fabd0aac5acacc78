#!/bin/sh
# Whole clusters: real boxes with real systemd and cloud-init, the real server, real datastores, a simulated K3s on the real kine.
#   usage: run.sh [words]      only the tests whose name holds one of the words
# Needs root on Debian 12 (it installs its own tools by apt) and Go. ROLLCALL_LAB_CACHE and ROLLCALL_TEST_CACHE keep what takes long.
# Exit code 0 and a loud sentence where there are no namespaces, or no Go: nothing was tested then.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

skip() {
  printf '\n#### WHOLE-CLUSTER TESTS SKIPPED: %s\n#### Nothing about whole clusters was tested on this machine.\nskipped: whole clusters: %s\n\n0 passed, 0 failed\n' "$1" "$1"
  exit 0
}

[ "$(uname -s)" = Linux ] || skip 'this is not Linux'
[ "$(id -u)" = 0 ] || skip 'not root'
command -v apt-get >/dev/null || skip 'this is not Debian'
unshare --net --mount --pid --fork true 2>/dev/null || skip 'namespaces are not allowed here'

cd "$here/../.."
npm run --silent kine
node --import tsx "$here/programs.ts" || skip 'kine or kubectl is not to be had'

export ROLLCALL_LAB_CACHE="${ROLLCALL_LAB_CACHE:-/var/cache/rollcall-lab}"
export ROLLCALL_LAB_ID="c$$"
"$here/../lab/roots.sh" "$ROLLCALL_LAB_CACHE"

# Its own network, and dies whole with its first process.
# shellcheck disable=SC2016 # the inner shell expands them
exec unshare --net --mount --pid --fork --kill-child --mount-proc \
  sh -c 'node --import tsx "$0" "$@" & main=$!; trap "kill $main" TERM INT; wait $main' "$here/main.ts" "$@"
