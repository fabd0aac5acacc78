#!/bin/sh
# Opens the real firewalld and ufw as rollcall-node does, and looks at what they then say: `sh test/lab/firewalls.sh`, as root on Debian 12 with a way to
# its mirrors. The machine's own files and network stay as they are: an overlay on memory, in namespaces of its own.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive
here=$(cd "$(dirname "$0")" && pwd)
opened='6443/tcp 2379-2380/tcp 10250/tcp 8472/udp'
trusted='10.42.0.0/16 10.43.0.0/16 fd42::/56'

skip() {
  printf 'skipped: real firewalls: %s\n0 passed, 0 failed\n' "$1"
  exit 0
}

case ${1-} in
  '')
    unshare --net --mount --pid --fork true 2>/dev/null || skip 'this needs root, and namespaces'
    work=$(mktemp -d)
    trap 'rmdir "$work"' EXIT
    unshare --mount --pid --fork --propagation private sh "$here/firewalls.sh" install "$work"
    exit
    ;;
  install)
    mount -t tmpfs -o size=1g firewalls "$2"
    mkdir "$2/up" "$2/work" "$2/root"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$2/up,workdir=$2/work" "$2/root"
    cd "$2/root"
    mount -t proc proc proc
    mount --rbind /dev dev
    mount -t tmpfs run run
    mount -t tmpfs tmp tmp
    # Nothing that is installed starts by itself.
    printf '#!/bin/sh\nexit 101\n' >usr/sbin/policy-rc.d
    chmod 755 usr/sbin/policy-rc.d
    chroot . apt-get install -y -qq --no-install-recommends dbus firewalld iptables ufw >tmp/apt.log 2>&1 || {
      tail -n 5 tmp/apt.log
      skip 'their packages cannot be had here'
    }
    cp "$here/firewalls.sh" "$here/../../templates/rollcall-node.sh" tmp/
    exec unshare --net chroot . sh /tmp/firewalls.sh try
    ;;
esac

passed=0 failed=0
shows() { # shows WHAT PATTERN FILE
  if grep -Eq -- "$2" "$3"; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    echo "FAIL $1: no line matches $2"
    cat "$3"
  fi
}
fails() { # fails WHAT
  failed=$((failed + 1))
  echo "FAIL $1"
}

cd /tmp
ip link set lo up
sed -n '/^run() {/,/^}/p; /^open_firewalld() {/,/^}/p; /^open_ufw() {/,/^}/p' rollcall-node.sh >part.sh
# shellcheck disable=SC2034 # what the functions read
W=/tmp DETAIL='' ROLLCALL_PORTS=$opened ROLLCALL_NETWORKS=$trusted
# shellcheck source=/dev/null
. ./part.sh
# There is no systemd here to say that firewalld runs.
systemctl() { [ -n "${firewalld-}" ]; }

{ open_firewalld && open_ufw; } || fails "where neither runs: $DETAIL"
ufw show added >said
shows 'ufw that is switched off is left alone' '^\(None\)' said

ufw --force enable >/dev/null
for round in first second; do open_ufw || fails "ufw, $round: $DETAIL"; done
ufw reload >/dev/null
ufw status >said
for rule in 6443/tcp 2379:2380/tcp 10250/tcp 8472/udp; do shows ufw "^$rule +ALLOW +Anywhere" said; done
for network in $trusted; do shows ufw "ALLOW +$network" said; done
sort said | uniq -d | grep ALLOW >twice || :
echo "$(wc -l <twice) rules twice" >twice
shows 'ufw, the second time' '^0 rules twice' twice
ufw disable >/dev/null

mkdir -p /run/dbus
dbus-daemon --system --fork
firewalld --nopid --nofork >firewalld.log 2>&1 &
firewalld=$!
n=0
until firewall-cmd -q --state 2>/dev/null || [ "$n" -ge 30 ]; do n=$((n + 1)) && sleep 1; done
for round in first second; do open_firewalld || fails "firewalld, $round: $DETAIL"; done
firewall-cmd --zone=public --list-ports >said 2>/dev/null
for port in $opened; do shows firewalld "(^| )$port( |\$)" said; done
firewall-cmd --zone=trusted --list-sources >said 2>/dev/null
for network in $trusted; do shows firewalld "(^| )$network( |\$)" said; done
kill "$firewalld"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
