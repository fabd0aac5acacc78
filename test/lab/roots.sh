#!/bin/sh
# Makes the root file systems that boxes boot from: Debian 12 (cloud-init 22.4) and Debian 13 (cloud-init 25.1), and unpacks Debian's Ignition.
#   usage: roots.sh [CACHE]        -> CACHE/bookworm, CACHE/trixie, CACHE/ignition
# A tar.zst beside each root is keyed by suite and package list, so that a CI cache can carry it.
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
  key=$(printf '%s %s' "$suite" "$PACKAGES" | cksum | cut -d' ' -f1)
  [ "$(cat "$CACHE/$suite.key" 2>/dev/null)" = "$key" ] && [ -d "$CACHE/$suite" ] && return 0
  rm -rf "${CACHE:?}/$suite" "$CACHE/$suite.key"
  if [ -f "$CACHE/$suite-$key.tar.zst" ]; then
    mkdir "$CACHE/$suite"
    tar -C "$CACHE/$suite" --numeric-owner -I zstd -xf "$CACHE/$suite-$key.tar.zst"
  else
    # --variant=essential leaves apt out: a box of the lab installs nothing.
    mmdebstrap --quiet --mode=root --variant=essential --format=directory \
      --aptopt='Apt::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
      --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
      --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/i18n/*' \
      --include="$PACKAGES" "$suite" "$CACHE/$suite"
    tar -C "$CACHE/$suite" --numeric-owner -I 'zstd -3 -T0' -cf "$CACHE/.$suite.part" .
    rm -f "$CACHE/$suite"-*.tar.zst
    mv "$CACHE/.$suite.part" "$CACHE/$suite-$key.tar.zst"
  fi
  printf '%s\n' "$key" >"$CACHE/$suite.key"
  say "$suite: $(chroot "$CACHE/$suite" cloud-init --version), $(du -sm "$CACHE/$suite" | cut -f1) MB"
}

ignition() {
  [ -x "$CACHE/ignition/usr/bin/ignition-validate" ] && return 0
  rm -rf "$CACHE/ignition" "$CACHE/.debs"
  mkdir -p "$CACHE/.debs"
  chmod 755 "$CACHE/.debs"
  (cd "$CACHE/.debs" && apt-get download -qq -o APT::Sandbox::User=root ignition)
  dpkg-deb -x "$CACHE"/.debs/ignition_*.deb "$CACHE/ignition"
  rm -rf "$CACHE/.debs"
  say "ignition: $("$CACHE/ignition/usr/lib/dracut/modules.d/30ignition/ignition" --version)"
}

root bookworm &
first=$!
root trixie
wait "$first"
ignition
