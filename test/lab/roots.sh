#!/bin/sh
# Makes the root file systems that boxes boot from: Debian 12 (cloud-init 22.4) and Debian 13 (cloud-init 25.1), and unpacks Debian's Ignition.
#   usage: roots.sh [CACHE]        -> CACHE/bookworm, CACHE/trixie, CACHE/ignition
# A root and the tar.zst beside it, which a CI cache can carry, are named by suite and package list and never changed: a
# lab may be running on them.
set -eu
CACHE=${1:-${ROLLCALL_LAB_CACHE:-/var/cache/rollcall-lab}}
TOOLS='mmdebstrap zstd iproute2 dnsmasq-base util-linux openssl curl procps'
PACKAGES='systemd,systemd-sysv,dbus,cloud-init,curl,openssl,ca-certificates,iproute2,procps,busybox,passwd'

mkdir -p "$CACHE"
exec 9>"$CACHE/lock"
flock 9

say() { printf 'lab: %s\n' "$*"; }

missing=''
for tool in $TOOLS; do
  dpkg-query -W -f '${Status}' "$tool" 2>/dev/null | grep -q 'ok installed' || missing="$missing $tool"
done
if [ -n "$missing" ]; then
  say "apt installs$missing"
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of package names
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

root() {
  suite=$1
  name=$suite-$(printf '%s %s' "$suite" "$PACKAGES" | cksum | cut -d' ' -f1)
  if [ ! -d "$CACHE/$name" ]; then
    rm -rf "$CACHE/$name.part"
    mkdir "$CACHE/$name.part"
    if [ -f "$CACHE/$name.tar.zst" ]; then
      tar -C "$CACHE/$name.part" --numeric-owner -I zstd -xf "$CACHE/$name.tar.zst"
    else
      build "$suite" "$CACHE/$name.part"
      tar -C "$CACHE/$name.part" --numeric-owner -I 'zstd -3 -T0' -cf "$CACHE/$name.tar.zst.part" .
      mv "$CACHE/$name.tar.zst.part" "$CACHE/$name.tar.zst"
    fi
    mv "$CACHE/$name.part" "$CACHE/$name"
    say "$suite: $(chroot "$CACHE/$name" cloud-init --version 2>&1), $(du -sm "$CACHE/$name" | cut -f1) MB"
  fi
  if [ -e "$CACHE/$suite" ] && [ ! -L "$CACHE/$suite" ]; then
    say "$CACHE/$suite is in the way: give another folder as ROLLCALL_LAB_CACHE"
    return 1
  fi
  if [ "$(readlink "$CACHE/$suite")" != "$name" ]; then
    ln -sfn "$name" "$CACHE/$suite"
  fi
}

# --variant=essential leaves apt out: a box of the lab installs nothing.
build() {
  mmdebstrap --quiet --mode=root --variant=essential --format=directory \
    --aptopt='Apt::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/i18n/*' \
    --include="$PACKAGES" "$1" "$2"
}

ignition() {
  [ -x "$CACHE/ignition/usr/bin/ignition-validate" ] && return 0
  rm -rf "$CACHE/ignition.part"
  mkdir "$CACHE/ignition.part"
  (cd "$CACHE/ignition.part" && apt-get download -qq -o APT::Sandbox::User=root ignition && dpkg-deb -x ignition_*.deb .)
  mv "$CACHE/ignition.part" "$CACHE/ignition"
  say "ignition: $("$CACHE/ignition/usr/lib/dracut/modules.d/30ignition/ignition" --version)"
}

root bookworm &
first=$!
root trixie
wait "$first"
ignition
