#!/bin/sh
# First process of a box: builds the box's own view of /proc, /sys and /dev, then becomes its systemd.
#   args: ROOT (mounted overlay) RUN (harness folder of this box; RUN/class/dmi/id is its firmware) TTY [arguments of PID 1]
# Runs inside fresh mount, pid, uts, ipc, cgroup and net namespaces.
set -eu
root=$1 run=$2 tty=$3
shift 3

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
# systemd as PID 1 raises fs.nr_open, fs.file-max and applies sysctl.d: these are the machine's, not the namespace's.
for part in sys irq bus sysrq-trigger; do
  [ -e "$root/proc/$part" ] || continue
  mount --bind "$root/proc/$part" "$root/proc/$part"
  mount -o remount,bind,ro "$root/proc/$part"
done

mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
# The firmware's view: the machine below may have no DMI, and its own must not leak into a box.
mkdir -p "$run/class/net"
mount --bind "$root/sys/class/net" "$run/class/net"
mount --rbind "$run/class" "$root/sys/class"

mount -t tmpfs tmpfs "$root/dev"
for device in null zero random urandom tty full; do
  mknod -m 666 "$root/dev/$device" c "$(stat -c '0x%t' "/dev/$device")" "$(stat -c '0x%T' "/dev/$device")"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
mount -t devpts devpts -o newinstance,ptmxmode=0666 "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
touch "$root/dev/console"
mount --bind "$tty" "$root/dev/console"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
hostname factory

# What could reach the machine from inside: its clock, modules, ports, log, audit.
drop=-sys_time,-sys_module,-sys_rawio,-syslog,-mac_admin,-mac_override,-audit_control,-audit_read,-wake_alarm,-block_suspend,-sys_pacct,-bpf,-perfmon
exec setpriv --bounding-set="$drop" --inh-caps="$drop" chroot "$root" \
  env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd "$@"
