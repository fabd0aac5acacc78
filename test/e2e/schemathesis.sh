#!/bin/sh
# Drives the admin API by its own OpenAPI document: nothing may be a 5xx, an undocumented status or against its schema.
# Usage: test/e2e/schemathesis.sh [further schemathesis options]
set -eu

version=4.32.5
here=$(cd "$(dirname "$0")/../.." && pwd)
cache=${ROLLCALL_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rollcall}/schemathesis-$version

if ! [ -x "$cache/bin/schemathesis" ]; then
  python3 -m venv "$cache"
  "$cache/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

work=$(mktemp -d)
server=
trap 'exec 3>&-; [ -z "$server" ] || wait "$server" || true; rm -rf "$work"' EXIT INT TERM
mkfifo "$work/stdin"
(cd "$here" && exec node --import tsx test/fakes/admin-server.ts <"$work/stdin" >"$work/ready") &
server=$!
# The server lives until this end is closed.
exec 3>"$work/stdin"
n=0
until [ -s "$work/ready" ]; do
  n=$((n + 1))
  if [ "$n" -gt 300 ] || ! kill -0 "$server" 2>/dev/null; then
    echo 'the server did not start' >&2
    exit 1
  fi
  sleep 0.1
done
url=$(sed -n 's/.*"url":"\([^"]*\)".*/\1/p' "$work/ready")

# The token by file and not by argument, where every user of the machine could read it.
umask 077
sed -n 's/.*"token":"\([^"]*\)".*/[headers]\nAuthorization = "Bearer \1"/p' "$work/ready" >"$work/schemathesis.toml"

# Without use_after_free and ensure_resource_availability: a device that is retired stays to be read, and what a cluster has (its kubeconfig, its
# load balancer's files) is 404 until it is there.
cd "$work"
"$cache/bin/schemathesis" --config-file "$work/schemathesis.toml" run "$url/api/openapi.json" \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method,ignored_auth \
  --no-color --max-examples "${SCHEMATHESIS_EXAMPLES:-40}" "$@"
