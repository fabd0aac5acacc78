#!/bin/sh
# Runs before cloud-init. Until this machine's document was applied, every boot is a first boot to cloud-init.
# cloud-init notes a module as done before it runs it (cloudinit/helpers.py, FileSemaphores). After a power cut in the middle, the rest of
# the document would never be written under the same instance-id.
set -eu

# A copied disk says "applied" of another machine: the client sees that and takes it back.
/usr/local/sbin/rollcall-client check || :
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
