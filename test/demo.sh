#!/bin/sh
# The README's first command, ended after its story; what it tells is what counts.
set -u
cd "$(dirname "$0")/.." || exit 1
told=$(npm run --silent demo -- --once 2>&1)
code=$?
printf '%s\n' "$told"
passed=0 failed=0
expect() {
  if printf '%s\n' "$told" | grep -q -- "$2"; then
    passed=$((passed + 1))
  else
    echo "FAIL: the demo does not tell $1"
    failed=$((failed + 1))
  fi
}
expect 'that the server answers' 'answers; devices know it by its key'
expect 'the datastore endpoint, redacted' 'datastore-endpoint: "<'
expect 'the pinned version' "INSTALL_K3S_VERSION='v1.36.3+k3s1'"
expect 'that the join token was redeemed' 'join.redeemed ok'
expect 'that the device is ready' 'DEMO-0042 is READY (reported)'
if [ "$code" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
if printf '%s\n' "$told" | grep -q 'only-in-the-demo'; then
  echo 'FAIL: the demo shows the datastore password'
  failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
