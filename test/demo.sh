#!/bin/sh
# The README's first command, ended after its story; what it tells is what counts.
set -u
cd "$(dirname "$0")/.." || exit 1
# Where there is no cloud-init: what checks a document opens it by name, as that does.
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
cat >"$tools/cloud-init" <<'END'
#!/bin/sh
[ "$1 $2" = 'schema -c' ] && grep -q '^#cloud-config' <"$3" && echo "Valid schema $3"
END
chmod 0755 "$tools/cloud-init"
PATH=$PATH:$tools
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
expect 'that cloud-init takes the document' 'Valid schema'
expect 'that the join token was redeemed' 'join.redeemed ok'
expect 'that the device is ready' 'DEMO-0042 is READY (reported)'
if [ "$code" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
if printf '%s\n' "$told" | grep -q 'only-in-the-demo'; then
  echo 'FAIL: the demo shows the datastore password'
  failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
