#!/bin/sh
# Rollcall on the node: `install` takes the steps from the document to a node that is ready, `tasks` serves the roll on a server of a cluster
# (rollcall-server.sh, which documents of servers have in this one), `report` adds one line to the timeline.
# Each step may be cut at any moment and is then run again. No secret is ever an argument.
# shellcheck disable=SC2153 # the settings come from install.env and node.env
set -u
umask 077
LC_ALL=C PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin
export LC_ALL PATH

ETC=${ROLLCALL_ETC:-/etc}
STATE=${ROLLCALL_STATE:-/var/lib/rollcall}
RUN=${ROLLCALL_RUN:-/run/rollcall}
DATA=${ROLLCALL_DATA:-/var/lib/rancher/k3s}
KEY=$STATE/device.key
AGENT=rollcall-node/1
quiet=0

# >>> the same in client.sh and rollcall-node.sh
b64u() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# Text as JSON takes it, without the quotes; what is not printable ASCII is dropped.
json() { printf %s "$1" | tr -cd ' -~' | sed 's/[\\"]/\\&/g'; }

# Seconds that no step of the clock changes.
uptime() {
  read -r up _ </proc/uptime
  echo "${up%%.*}"
}

# Writes stdin to $1, whole or not at all, whenever the power goes.
keep() {
  if cat >"$1.new" && { sync "$1.new" 2>/dev/null || sync; } && mv -f "$1.new" "$1"; then
    sync "${1%/*}" 2>/dev/null || sync
  else
    rm -f "$1.new"
    return 1
  fi
}

# An ECDSA signature in DER as the 64 bytes of a JWS. A DER integer is shorter when it begins with zeros, longer when its first bit is set.
raw() {
  openssl asn1parse -inform DER -in "$1" | sed -n 's/^ *\([0-9]*\):d=1 *hl= *\([0-9]*\) *l= *\([0-9]*\) .*INTEGER.*/\1 \2 \3/p' |
    while read -r at head size; do
      at=$((at + head))
      [ "$size" -le 32 ] || at=$((at + size - 32)) size=32
      head -c $((32 - size)) /dev/zero
      tail -c +$((at + 1)) "$1" | head -c "$size"
    done
}

# The public key, members in the order of RFC 7638, so that it is the thumbprint's input too.
jwk() {
  openssl pkey -in "$KEY" -pubout -outform DER >"$W/pub" && [ "$(wc -c <"$W/pub")" -eq 91 ] || return 1
  printf '{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}' "$(tail -c 64 "$W/pub" | head -c 32 | b64u)" "$(tail -c 32 "$W/pub" | b64u)"
}

# Signs payload $2 as a JWS of type $1, into $W/jws.
jws() {
  jwk=$(jwk) || return 1
  { printf '{"alg":"ES256","typ":"%s","jwk":%s}' "$1" "$jwk" | b64u && printf . && printf %s "$2" | b64u; } >"$W/in" &&
    openssl dgst -sha256 -sign "$KEY" -out "$W/der" "$W/in" && raw "$W/der" >"$W/sig" && [ "$(wc -c <"$W/sig")" -eq 64 ] &&
    { cat "$W/in" && printf . && b64u <"$W/sig"; } >"$W/jws"
}

# One request with curl's arguments; sets status, 000 if no whole answer came. Only the pinned key is trusted, not dates: this
# machine's clock may be anywhere. What is secret comes as curl configuration on stdin or from a file, never as an argument.
call() {
  rm -f "$W/head" "$W/body"
  rc=0
  status=$(curl -q -sS -k --pinnedpubkey "$ROLLCALL_PIN" --proto =https --connect-timeout 10 --max-time 60 -A "$AGENT" \
    -H 'Accept: text/plain' -H 'Expect:' -D "$W/head" -o "$W/body" -w '%{http_code}' "$@" 2>"$W/why") || rc=$?
  [ "$rc" -eq 0 ] || status=000
}

header() { [ ! -e "$W/head" ] || tr -d '\r' <"$W/head" | grep -i "^$1:" | tail -n 1 | sed 's/^[^:]*: *//'; }

# `code: detail`, as the server words a refusal.
refusal() { [ ! -e "$W/body" ] || head -c 600 "$W/body" | head -n 1 | tr -cd ' -~'; }

# Waits $1 seconds, or 30 if that is no number, and up to a quarter more: many machines may wait for the same thing.
pause() {
  case $1 in '' | *[!0-9]* | 0* | ?????*) set -- 30 ;; esac
  sleep $(($1 + $(od -An -N2 -tu2 /dev/urandom) % ($1 / 4 + 2)))
}

# Takes the clock from an answer of the server if it is a minute or more off.
set_clock() {
  time=$(header rollcall-time)
  case $time in [1-3]?????????) ;; *) return 0 ;; esac
  case $time in *[!0-9]*) return 0 ;; esac
  off=$((time - $(date +%s)))
  [ "${off#-}" -gt 60 ] && [ "${ROLLCALL_STEP_CLOCK:-1}" != 0 ] || return 0
  if date -u -s "@$time" >/dev/null 2>&1 || date -u -D %s -s "$time" >/dev/null 2>&1; then
    say "the clock was $off s off and is now set by the server"
  else
    say "the clock is $off s off and could not be set"
  fi
}
# <<< the same in client.sh and rollcall-node.sh

say() { printf 'rollcall: %s\n' "$*" >&2; }

die() {
  say "$1"
  exit 1
}

# Reports are queued on the disk and sent in order; a server that is away holds nothing up.
report() {
  say "$1 $2${3:+: $3}"
  printf '{"step":"%s","result":"%s","detail":"%s"}\n' "$1" "$2" "$(json "$(printf %s "${3-}" | tr -s '[:space:]' ' ' | tail -c 400)")" >>"$QUEUE"
}

# Those that wait share one connection: TLS costs a small machine more than what is said. What one request was told, --next forgets.
flush() {
  [ "$(uptime)" -ge "$quiet" ] || return 1
  while [ -s "$QUEUE" ]; do
    # A power cut may have left half a line.
    grep -n '^{.*}$' "$QUEUE" | head -n 16 >"$W/reports"
    while IFS=: read -r at line; do
      printf %s "$line" >"$W/report.$at"
      cat <<END
next
insecure
pinnedpubkey = "$ROLLCALL_PIN"
proto = "=https"
max-time = 10
user-agent = "$AGENT"
header = "Content-Type: application/json"
data-binary = "@$W/report.$at"
url = "$ROLLCALL_REPORT"
output = "$W/body"
write-out = "%{http_code}\\n"
fail
END
    done <"$W/reports" | sed 1d >"$W/requests"
    curl -q --fail-early -K "$W/requests" >"$W/statuses" 2>"$W/why"
    # What comes after one that failed was not sent.
    sent='' away=''
    [ -s "$W/reports" ] || sent='$'
    while read -r status <&3 && IFS=: read -r at _ <&4; do
      case $status in 000 | 429 | 5??) away=1 && break ;; esac
      sent=$at
    done 3<"$W/statuses" 4<"$W/reports"
    [ -z "$sent" ] || sed "1,${sent}d" "$QUEUE" | keep "$QUEUE" || return 1
    if [ -n "$away" ] || [ -z "$sent" ]; then quiet=$(($(uptime) + 30)) && return 1; fi
  done 2>/dev/null
}

# Runs step $1 by function $2, once an enrollment. A fault ends the program; the unit starts it again.
step() {
  [ ! -e "$STEPS/$1" ] || return 0
  [ -e "$STEPS/$1.start" ] || report "$1" start
  : >"$STEPS/$1.start"
  # Together with the steps before it, which take no time, or tell it when they run a program.
  case $1 in k3s*) flush ;; esac
  DETAIL=
  if "$2"; then
    report "$1" ok "$DETAIL"
    rm -f "$RUN/faults"
    sync
    echo "$1" | keep "$STEPS/$1" || die "cannot write to $STEPS"
    return 0
  fi
  [ "$DETAIL" = "$(cat "$STEPS/$1.fail" 2>/dev/null)" ] || report "$1" fail "$DETAIL"
  printf %s "$DETAIL" >"$STEPS/$1.fail"
  flush
  faults=$(($(cat "$RUN/faults" 2>/dev/null || echo 0) + 1))
  echo "$faults" >"$RUN/faults"
  [ "$faults" -le 20 ] || faults=20
  pause $((faults * 10))
  exit 1
}

# Runs a program that is not ours; its last words become the detail.
run() {
  flush
  (umask 022 && exec "$@") >"$W/log" 2>&1 </dev/null && return
  DETAIL="$1 failed ($?): $(tail -n 5 "$W/log")"
  cat "$W/log" >&2
  return 1
}

clock() {
  timedatectl set-ntp true >/dev/null 2>&1
  n=0
  while n=$((n + 1)) && call --max-time 20 "$ROLLCALL_URL/v1/challenge" && [ "$status" != 200 ] && [ "$n" -lt 10 ]; do pause 3; done
  [ "$status" != 200 ] || set_clock
  DETAIL="server answered $status"
  [ "$(date +%Y)" -ge 2024 ] || return 1
  n=0
  while [ "$(timedatectl show -p NTP --value 2>/dev/null)" = yes ] && [ "$n" -lt 10 ]; do
    [ "$(timedatectl show -p NTPSynchronized --value)" != yes ] || return 0
    n=$((n + 1))
    sleep 2
  done
  DETAIL="$DETAIL; no time synchronisation yet"
}

os_update() {
  case $ROLLCALL_OS in fcos) update-ca-trust ;; flatcar) update-ca-certificates ;; esac >/dev/null 2>&1
  boot=$(cat "${ROLLCALL_BOOT:-/proc/sys/kernel/random/boot_id}")
  before=$(cat "$STEPS/restarted" 2>/dev/null)
  if [ -n "$before" ] && [ "$before" != "$boot" ]; then
    DETAIL=restarted
    return
  fi
  packages=$ROLLCALL_PACKAGES
  # Modules that K3s needs are no longer in RHEL 10's kernel package (docs.k3s.io, Requirements).
  [ "$(el)" != 10 ] || packages="$packages kernel-modules-extra"
  # What runs K3s' container, unless the system has it or the profile names a build of it.
  if no_engine; then
    case " $packages" in *" $ROLLCALL_ENGINE"*) ;; *) packages="$packages $ROLLCALL_ENGINE_PACKAGE" ;; esac
  fi
  # NetworkManager's helper for clouds takes the pods' routes away (same page); what it set lasts until a restart.
  for unit in nm-cloud-setup.timer nm-cloud-setup.service; do
    systemctl -q is-enabled "$unit" 2>/dev/null || continue
    run systemctl disable "$unit" || return
    : >"$STEPS/restart"
  done
  # shellcheck disable=SC2086 # a list of names
  if [ -z "$ROLLCALL_UPDATE$packages" ]; then
    [ -e "$STEPS/restart" ] || return 0
  elif command -v dnf >/dev/null; then
    [ -z "$ROLLCALL_UPDATE" ] || run dnf -y update || return
    [ -z "$packages" ] || run dnf -y install $packages || return
  elif command -v apt-get >/dev/null; then
    apt='apt-get -y -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold'
    export DEBIAN_FRONTEND=noninteractive
    run dpkg --configure -a && run $apt update || return
    [ -z "$ROLLCALL_UPDATE" ] || run $apt upgrade || return
    [ -z "$packages" ] || run $apt install $packages || return
    # Debian 13's docker.io only recommends it, and earlier ones have no such package.
    ! no_engine || run $apt install "$ROLLCALL_ENGINE-cli" || return
  else
    DETAIL='neither dnf nor apt-get is here'
    return 1
  fi
  wants_restart || return 0
  report os.update start restarting
  flush
  echo "$boot" | keep "$STEPS/restarted" || return
  systemctl reboot
  exit 1
}

no_engine() { [ -n "$ROLLCALL_ENGINE_PACKAGE" ] && ! command -v "$ROLLCALL_ENGINE" >/dev/null; }

# The release of Enterprise Linux, e.g. 9; nothing elsewhere.
# shellcheck source=/dev/null
el() { (. "$ETC/os-release" && case " $ID ${ID_LIKE-} " in *' rhel '*) echo "${VERSION_ID%%.*}" ;; esac) 2>/dev/null; }

wants_restart() {
  [ ! -e /run/reboot-required ] && [ ! -e "$STEPS/restart" ] || return 0
  if command -v needs-restarting >/dev/null; then
    needs-restarting -r >/dev/null 2>&1
    [ $? -eq 1 ]
  elif command -v rpm >/dev/null; then
    kernel=$(rpm -q --last kernel-core 2>/dev/null | sed -n '1s/^kernel-core-\([^ ]*\).*/\1/p')
    [ -n "$kernel" ] && [ "$kernel" != "$(uname -r)" ]
  else
    return 1
  fi
}

is_sum() { [ "$(openssl dgst -sha256 -r "$2" 2>/dev/null | cut -d ' ' -f 1)" = "$1" ]; }

# Brings URL $1 with SHA-256 $2 to $3. Without a sum (allow_unpinned) nothing is resumed, and TLS is all that vouches for it.
download() {
  part=$3.part n=0
  [ -n "$2" ] || { rm -f "$part" && DETAIL='not pinned'; }
  [ -z "$2" ] || ! is_sum "$2" "$3" || return 0
  mkdir -p "${3%/*}"
  case $1 in "$ROLLCALL_URL"/*) trust="-k --pinnedpubkey $ROLLCALL_PIN" ;; *) trust=${2:+-k} ;; esac
  until [ -n "$2" ] && is_sum "$2" "$part"; do
    rc=0
    # shellcheck disable=SC2086 # options
    code=$(curl -q -sSfLC - $trust --connect-timeout 15 --speed-limit 1000 --speed-time 60 -o "$part" -w '%{http_code}' "$1" 2>"$W/why") || rc=$?
    [ -n "$2" ] || [ "$rc" -ne 0 ] || break
    [ "$rc" -ne 0 ] || is_sum "$2" "$part" || echo 'its SHA-256 is not the one on record' >"$W/why"
    # What ended, or cannot be resumed, and is not it yet, never will be.
    case $rc/$code in 0/* | 33/* | 36/* | 22/416) is_sum "$2" "$part" || rm -f "$part" ;; esac
    n=$((n + 1))
    if [ "$n" -ge 5 ]; then
      DETAIL="$1: $(cat "$W/why")"
      return 1
    fi
    pause $((n * 2))
  done
  chmod "$4" "$part" && { sync "$part" 2>/dev/null || sync; } && mv -f "$part" "$3" && sync
}

k3s_download() {
  case $(uname -m) in x86_64) arch=amd64 ;; aarch64 | arm64) arch=arm64 ;; arm*) arch=arm ;; *) arch=none ;; esac
  url='' sum=''
  eval "url=\${ROLLCALL_BINARY_URL_$arch:-} sum=\${ROLLCALL_BINARY_SHA256_$arch:-}"
  [ -z "$ROLLCALL_SCRIPT_URL" ] || download "$ROLLCALL_SCRIPT_URL" "$ROLLCALL_SCRIPT_SHA256" "$STATE/install.sh" 0700 || return
  [ ! -s "$STATE/k3s.source" ] || read -r sum url <"$STATE/k3s.source"
  [ -z "$url" ] || download "$url" "${sum#-}" "$K3S" 0755 || return
  for one in $ROLLCALL_IMAGES; do
    url=${one#*=*=} sum=${one#*=}
    name=${url##*/}
    [ "${one%%=*}" != "$arch" ] || download "$url" "${sum%%=*}" "$DATA/agent/images/${name%%\?*}" 0600 || return
  done
  policy || return
  [ -z "$ROLLCALL_CONTAINER" ] || "$ROLLCALL_ENGINE" image inspect "$ROLLCALL_CONTAINER" >/dev/null 2>&1 || run "$ROLLCALL_ENGINE" pull -q "$ROLLCALL_CONTAINER" || return
  [ -x "$K3S" ] || DETAIL="there is no K3s for $(uname -m)"
  [ -x "$K3S" ]
}

# K3s' SELinux policy, where a mirror has it. Where K3s comes from no mirror, the install script looks for it in K3s' own repository.
policy() {
  rm -f "$POLICY"
  url='' sum=''
  [ -z "$ROLLCALL_CONTAINER" ] || return 0
  case $(el) in '') return 0 ;; 8) release=el8 ;; *) release=el9 ;; esac
  eval "url=\${ROLLCALL_SELINUX_URL_$release:-} sum=\${ROLLCALL_SELINUX_SHA256_$release:-}"
  if [ -n "$url" ]; then
    download "$url" "$sum" "$POLICY" 0600
  elif [ -n "${INSTALL_K3S_SKIP_SELINUX_RPM:-}" ]; then
    DETAIL="the mirror has no SELinux policy for $release"
  fi
}

# A firewall would drop what nodes and pods say to each other (docs.k3s.io, Requirements).
firewall() { open_firewalld && open_ufw; }

open_firewalld() {
  systemctl -q is-active firewalld || return 0
  ports='' sources=''
  for one in $ROLLCALL_PORTS; do ports="$ports --add-port=$one"; done
  for one in $ROLLCALL_NETWORKS; do sources="$sources --add-source=$one"; done
  # shellcheck disable=SC2086 # options
  run firewall-cmd -q --permanent $ports && run firewall-cmd -q --permanent --zone=trusted $sources && run firewall-cmd -q --reload
}

# Its unit is active even where it is switched off. It takes one rule a call, and a range of ports with a colon.
open_ufw() {
  ufw status 2>/dev/null | grep -q '^Status: active' || return 0
  for one in $ROLLCALL_PORTS; do
    case $one in *-*) one=${one%%-*}:${one#*-} ;; esac
    run ufw allow "$one" || return
  done
  for one in $ROLLCALL_NETWORKS; do run ufw allow from "$one" || return; done
}

# What a kubelet that protects kernel defaults wants to find (docs.k3s.io, CIS Hardening Guide).
kernel_defaults() {
  grep -q '^protect-kernel-defaults: "true"' "$CONFIG" || return 0
  file=$ETC/sysctl.d/90-rollcall-k3s.conf
  mkdir -p "${file%/*}"
  printf '%s\n' vm.panic_on_oom=0 vm.overcommit_memory=1 kernel.panic=10 kernel.panic_on_oops=1 | keep "$file" && run sysctl -p "$file"
}

k3s_install() {
  firewall && kernel_defaults || return
  if [ -s "$POLICY" ]; then
    run dnf -y install "$POLICY" || return
    export INSTALL_K3S_SKIP_SELINUX_RPM=true
  fi
  if [ -n "$ROLLCALL_SCRIPT_URL" ]; then
    [ -z "$ROLLCALL_SCRIPT_SHA256" ] || is_sum "$ROLLCALL_SCRIPT_SHA256" "$STATE/install.sh" || {
      DETAIL='the install script changed on the disk'
      rm -f "$STEPS/k3s.download"
      return 1
    }
    run sh "$STATE/install.sh" || return
  fi
  ! command -v restorecon >/dev/null || restorecon "$K3S"
  run systemctl daemon-reload
}

# Removes what K3s keeps, and of further files those that say where its data is; $1 says whose it was. Images stay, and volumes.
wipe() {
  whose=$1 gone=''
  shift
  for old in "$DATA/server" "$DATA/agent"/* "$@"; do
    what=${old##*/}
    case $old in
      */agent/containerd | */agent/images) continue ;;
      */agent/*) what=agent ;;
      */config.yaml.d/*) grep -Eqs '^["'\'']?((agent-)?token(-file)?|server|cluster-init|datastore-[a-z]+)["'\'']?[+]? *:' "$old" || continue ;;
    esac
    [ -e "$old" ] || continue
    DETAIL="cannot remove $old"
    rm -rf "$old" || return
    case $gone in *" $what"*) ;; *) gone="$gone $what" ;; esac
  done
  [ -z "$gone" ] || report k3s.join start "removed $whose:$gone"
}

# Data of another enrollment would win over this one's configuration: K3s believes initialised etcd data, certificates and drop-ins first.
clear_data() {
  owner=$(cat "$DATA/rollcall" 2>/dev/null)
  [ "$owner" != "$ROLLCALL_ENROLLMENT" ] || return 0
  # One by one: systemctl does nothing at all when one is not there.
  for verb in disable stop; do
    for unit in k3s k3s-agent rollcall-node; do systemctl "$verb" "$unit"; done
  done >/dev/null 2>&1
  rm -f "$STATE/enabled"
  kill=${K3S%/*}/k3s-killall.sh
  [ ! -x "$kill" ] || run "$kill" || return
  wipe "what ${owner:-an installation without Rollcall} left here" "$CONFIG.d"/* || return
  DETAIL="cannot write to $DATA"
  mkdir -p "$DATA" && echo "$ROLLCALL_ENROLLMENT" | keep "$DATA/rollcall" && DETAIL=
}

# K3s does not start without a default route. One that leads nowhere will do (docs.k3s.io, Air-Gap Install), but it must not tell K3s its address. What was made
# for one network goes in another that has a route: its address is wrong there.
default_route() {
  address=$CONFIG.d/51-rollcall.yaml
  dropin=$ETC/systemd/system/$UNIT.service.d/20-rollcall.conf
  # shellcheck disable=SC2046 # two words
  ! no_route || set -- $(ip -4 -o addr show up scope global | sed -n '/ dummy0 /d; s/^[0-9]*: *\([^ @]*\)[^ ]* *inet \([0-9.]*\)\/.*/\1 \2/p' | head -n 1)
  [ $# -eq 2 ] || { rm -f "$address" "$dropin"; return; }
  [ -e "$STEPS/started" ] || report k3s.join start "there is no default route: one that leads nowhere is made, and the node's address is $2 on $1"
  mkdir -p "${address%/*}" "${dropin%/*}" || return
  {
    printf 'node-ip: "%s"\n' "$2"
    grep -q '^flannel-iface:' "$CONFIG" || printf 'flannel-iface: "%s"\n' "$1"
  } | keep "$address" && keep "$dropin" <<'END' && run systemctl daemon-reload
[Service]
ExecStartPre=-/bin/sh -c 'ip -4 route show default | grep -q . || { ip link add dummy0 type dummy; ip addr add 203.0.113.254/31 dev dummy0; ip link set dummy0 up; ip route add default via 203.0.113.255 dev dummy0 metric 65535; }'
END
}

# A container that stands alone has a network of its own, and Docker and Podman give that a route.
no_route() {
  case $ROLLCALL_CONTAINER/$ROLLCALL_DATASTORE/$ROLLCALL_API in ?*/sqlite/) return 1 ;; esac
  command -v ip >/dev/null && ! { ip -4 route show default; ip -6 route show default; } | grep -qv 'dummy0 metric 65535'
}

# Why K3s gave up, as it said it last: not what stands before the @ of an endpoint, and nothing at all if it says a secret elsewhere.
last_words() {
  journalctl -u "$UNIT" --since -5min -o cat 2>/dev/null | tr -cd '\n -~' | grep -E 'level=(fatal|error)|^panic:' >"$W/log"
  { grep -v level=error "$W/log" || cat "$W/log"; } | tail -n 1 |
    sed -E 's/^time=[^ ]* level=[a-z]* msg=//; s#://.*@#://***@#; s#[^ ]*:.*@(tcp|unix)#***@\1#' >"$W/why"
  {
    sed -n 's#^datastore-endpoint: *"[^:]*://[^:]*:\(.*\)@.*#\1#p' "$CONFIG"
    sed 's/.*::[^.]*\.//' "$ETC/rancher/k3s/token" "$ETC/rancher/node/password"
  } >"$W/log" 2>/dev/null
  ! grep -qFf "$W/log" "$W/why" || echo 'its last words hold a secret' >"$W/why"
  said=$(cut -c 1-300 "$W/why")
}

# kubectl; an agent may look with its kubelet's own certificate.
kubectl() {
  [ "$ROLLCALL_ROLE" = server ] || set -- --kubeconfig "$DATA/agent/kubelet.kubeconfig" "$@"
  "$K3S" kubectl "$@" 2>"$W/why"
}

# Whether K3s serves. Its own unit says so; one that runs a container says only that the container runs, also while K3s in it ends again and again.
serves() {
  systemctl -q is-active "$UNIT" || return
  [ -z "$ROLLCALL_CONTAINER" ] || kubectl get --raw /readyz --request-timeout=5s >/dev/null </dev/null
}

k3s_join() {
  clear_data || return
  ended=
  if [ "$ROLLCALL_ROLE" = server ] && ! { [ -e "$STEPS/redeemed" ] && serves; }; then
    redeem
    case $? in 0) ;; 2) ended=1 ;; *) return 1 ;; esac
    # A machine that joined gets no token either: what it was given may still do.
    [ -z "$ended" ] || [ -e "$STEPS/redeemed" ] || claim_again || return
  fi
  default_route || return
  # A unit that Quadlet makes cannot be enabled: it looks for this file.
  if [ -e "$ETC/containers/systemd/$UNIT.container" ]; then : >"$STATE/enabled"; else run systemctl enable "$UNIT" || return; fi
  verb=start
  [ -e "$STEPS/started" ] || verb=restart
  systemctl reset-failed "$UNIT" 2>/dev/null
  run systemctl --no-block "$verb" "$UNIT" || return
  : >"$STEPS/started"
  n=0
  until serves; do
    n=$((n + 1))
    # What ended eight times, or what systemd gave up, ends again: nobody should wait five minutes to read why.
    if [ "$n" -ge 60 ] || [ "$(systemctl show -p NRestarts "$UNIT" | tr -cd 0-9)0" -ge 80 ] || systemctl -q is-failed "$UNIT"; then
      [ -z "$ended" ] || claim_again || return
      last_words
      DETAIL="$UNIT does not start ($(systemctl show -p SubState -p Result -p ExecMainStatus "$UNIT" | tr '\n' ' ')): ${said:-see journalctl -u $UNIT}"
      return 1
    fi
    sleep $((n < 10 ? 1 : 5))
  done
  [ "$ROLLCALL_ROLE" = agent ] || begin_tasks
}

# Runs the client; fails where this system has none.
client() {
  for one in ${ROLLCALL_CLIENT:-/usr/local/sbin/rollcall-client /opt/bin/rollcall-client "$STATE/client.sh"}; do
    [ -x "$one" ] && sh "$one" "$@" && return
  done
}

# Ends the program: the system is restarted, or its unit is, and begins again.
claim_again() {
  DETAIL='the join token ended; claiming again'
  report k3s.join fail "$DETAIL"
  flush
  export ROLLCALL_URL ROLLCALL_PIN ROLLCALL_AUDIENCE
  ! client apply || exit 1
  DETAIL='the join token ended, and this system cannot claim again: allow it if it joined before (verb reenroll), or install it anew'
  return 1
}

# The node as the cluster sees it.
k3s_ready() {
  node=$(sed -n "s/^node-name: *[\"']*\([^\"']*\)[\"']* *\$/\1/p" "$CONFIG")
  [ -n "$node" ] || node=$(uname -n | tr '[:upper:]' '[:lower:]')
  n=0
  until [ "$(kubectl get node "$node" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' --request-timeout=10s)" = True ]; do
    n=$((n + 1))
    if [ "$n" -ge 60 ]; then
      rounds=$(($(cat "$STEPS/rounds" 2>/dev/null || echo 0) + 1))
      echo "$rounds" | keep "$STEPS/rounds"
      DETAIL="not ready after $((rounds * 10)) minutes: $(cat "$W/why")"
      # The server renews an agent's token for 24 hours.
      [ "$ROLLCALL_ROLE" = server ] || [ "$rounds" -lt 150 ] || claim_again
      return 1
    fi
    sleep $((n < 5 ? 2 : 10))
  done
  # What K3s in a container once told its Node stays there, and plans of an upgrade would pass by K3s on the host, too: K3s only adds labels (pkg/agent/run.go).
  [ -n "$ROLLCALL_CONTAINER" ] || kubectl label node "$node" rollcall/runtime-
  [ "$ROLLCALL_ROLE" = agent ] || summary
}

# Every file of the document is there, and it is the one that was claimed on this boot.
check_document() {
  for file in rollcall/install.env rollcall/node.env rancher/k3s/config.yaml; do
    [ -s "$ETC/$file" ] || die "$ETC/$file is not there yet"
  done
  [ "$ROLLCALL_ROLE" != agent ] || [ -s "$ETC/rancher/k3s/token" ] || die 'the token is not there yet'
  claimed=$(cat "$RUN/enrollment" 2>/dev/null)
  [ -z "$claimed" ] || [ "$claimed" = "$ROLLCALL_ENROLLMENT" ] || die "waiting for the document of $claimed to be applied"
}

read_settings() {
  # shellcheck source=/dev/null
  for file in install node; do [ ! -e "$ETC/rollcall/$file.env" ] || . "$ETC/rollcall/$file.env"; done
  for name in URL PIN REPORT ROLE OS ENROLLMENT SERIAL AUDIENCE; do
    eval "[ -n \"\${ROLLCALL_$name:-}\" ]" || die "ROLLCALL_$name is not there yet"
  done
  for name in JOIN NODE API DATASTORE PACKAGES UPDATE SCRIPT_URL SCRIPT_SHA256 IMAGES PORTS NETWORKS CONTAINER ENGINE_PACKAGE; do
    eval ": \"\${ROLLCALL_$name=}\""
  done
  : "${ROLLCALL_ENGINE=podman}"
  [ "$ROLLCALL_UPDATE" != 0 ] || ROLLCALL_UPDATE=
  K3S=${INSTALL_K3S_BIN_DIR:-/usr/local/bin}/k3s
  CONFIG=$ETC/rancher/k3s/config.yaml
  POLICY=$STATE/k3s-selinux.rpm
  UNIT=k3s
  [ "$ROLLCALL_ROLE" != agent ] || UNIT=k3s-agent
  STEPS=$STATE/steps/$ROLLCALL_ENROLLMENT
  QUEUE=$STEPS/queue
  { mkdir -p "$STEPS" "$RUN" && chmod 0700 "$STATE" "$RUN" && W=$(mktemp -d "$RUN/node.XXXXXX"); } || die "cannot write to $STATE and $RUN"
  [ ! -s "$QUEUE" ] || echo >>"$QUEUE"
  trap 'rm -rf "$W"' EXIT
  trap 'exit 1' INT TERM HUP
}

install() {
  if [ ! -e "$STEPS/k3s.ready" ]; then
    check_document
    sync
    # Ends claiming. It waits for no report: the server may be away.
    echo "$ROLLCALL_ENROLLMENT" | keep "$STATE/applied" || die "cannot write to $STATE"
    for old in "$STATE/steps"/*; do [ "$old" = "$STEPS" ] || rm -rf "$old"; done
    # shellcheck disable=SC2013,SC2163 # names
    for name in $(sed -n 's/^\(INSTALL_[A-Z0-9_]*\)=.*/\1/p' "$ETC/rollcall/install.env"); do export "$name"; done
    export INSTALL_K3S_SKIP_DOWNLOAD="${INSTALL_K3S_SKIP_DOWNLOAD:-binary}" INSTALL_K3S_SKIP_START=true
    # A restart may have lost the clock again.
    [ -e "$RUN/clock" ] || rm -f "$STEPS/clock"
    step clock clock
    : >"$RUN/clock"
    step document.applied true
    step os.update os_update
    step k3s.download k3s_download
    step k3s.install k3s_install
    step k3s.join k3s_join
    step k3s.ready k3s_ready
  fi
  # Done with: what is left serves no purpose but a thief's.
  file=$ETC/rollcall/node.env
  ! grep -q '^ROLLCALL_JOIN=' "$file" || grep -v '^ROLLCALL_JOIN=' "$file" | keep "$file"
  # cloud-init would report on every boot, and wait for a server that is away.
  rm -f "$RUN"/user-data* "$ETC/cloud/cloud.cfg.d/98-rollcall-reporting.cfg"
  quiet=0
  flush || die 'reports wait for the server'
}

# shellcheck source=templates/rollcall-server.sh
. "${0%/*}/rollcall-server.sh"

# Another document is there, or the beginning of one (client.sh, apply). It counts from now on, and may bring another version of this program.
if [ "${1-}" = install ] && [ -e "$STATE/next" ]; then
  client place && exec sh "$0" install
  exit 1
fi
read_settings
case ${1-} in
  install) install ;;
  tasks) tasks ;;
  report) report "$2" "$3" "${4-}" && flush ;;
  *) die 'usage: rollcall-node install | tasks | report STEP start|ok|fail [DETAIL]' ;;
esac
