#!/bin/sh
# Runs before cloud-init on every boot until this machine's document was applied: cloud-init then sees a new machine.
# cloud-init notes a module as done before it runs it (cloudinit/helpers.py, FileSemaphores). After a power cut in the middle, the rest of
# the document would never be written under the same instance-id.
set -eu

cloud=/var/lib/cloud
# The link names the instance whose data source is cached; manual_cache_clean would keep it whatever its id.
rm -f "$cloud/instance"
# Documents of earlier attempts; their secrets ended when the machine claimed again.
rm -rf "$cloud/instances"

mkdir -p "$cloud/seed/nocloud"
read -r id </proc/sys/kernel/random/uuid
printf 'instance-id: rollcall-%s\n' "$id" >"$cloud/seed/nocloud/meta-data.new"
mv "$cloud/seed/nocloud/meta-data.new" "$cloud/seed/nocloud/meta-data"
