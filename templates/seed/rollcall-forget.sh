#!/bin/sh
# Runs before cloud-init. Until this machine's document was applied, every boot is a first boot to cloud-init.
# cloud-init notes a module as done before it runs it (cloudinit/helpers.py, FileSemaphores). After a power cut in the middle, the rest of
# the document would never be written under the same instance-id.
set -eu

# A copied disk says "applied" of another machine: the client sees that and takes it back.
/usr/local/sbin/rollcall-client check || :

# The document brings the server's authority while cloud-init runs. Where all stages are one process (24.3 and later), Python's requests has
# loaded the system's bundle by then (adapters.py, _preloaded_ssl_context) and would refuse our server; a bundle named in the environment is read anew.
for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
  [ ! -s "$bundle" ] || { (umask 077 && mkdir -p /run/rollcall) && echo "REQUESTS_CA_BUNDLE=$bundle" >/run/rollcall/cloud-init.env && break; }
done

[ ! -e /var/lib/rollcall/applied ] || exit 0

cloud=/var/lib/cloud
# The link names the instance whose data source is cached; manual_cache_clean would keep it whatever its id.
rm -f "$cloud/instance"
# Documents of earlier attempts; their secrets end when this machine claims again.
rm -rf "$cloud/instances"

mkdir -p "$cloud/seed/nocloud"
read -r id </proc/sys/kernel/random/uuid
printf 'instance-id: rollcall-%s\n' "$id" >"$cloud/seed/nocloud/meta-data.new"
mv "$cloud/seed/nocloud/meta-data.new" "$cloud/seed/nocloud/meta-data"
