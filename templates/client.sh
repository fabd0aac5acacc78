#!/bin/sh
# Rollcall's device client: calls in with a signed claim and fetches this machine's document. Needs curl and openssl.
# Settings: environment, else /etc/rollcall/client.env; they hold no secret.
set -u
umask 077
LC_ALL=C PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

usage='usage: client.sh identity                  print this machine as one line for the import of devices
       client.sh claim [--out FILE]       wait for the document (default /run/rollcall/user-data)
       client.sh ignition --out FILE      wait for an Ignition document; FILE also brings this machine'\''s key
       client.sh check                    set aside what another machine left on this disk
       client.sh apply                    forget the document and restart, to claim again'

STATE=${ROLLCALL_STATE:-/var/lib/rollcall}
RUN=${ROLLCALL_RUN:-/run/rollcall}
DMI=${ROLLCALL_DMI:-/sys/class/dmi/id}
TREE=${ROLLCALL_TREE:-/proc/device-tree}
NET=${ROLLCALL_NET:-/sys/class/net}
CONSOLE=${ROLLCALL_CONSOLE-/dev/console}
SLOW=${ROLLCALL_SLOW:-60}
KEY=$STATE/device.key
AGENT=rollcall-client/1

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

# What the server or the maker wrote must not steer the terminal.
say() {
  text="rollcall: $(printf %s "$*" | tr -cd ' -~')"
  printf '%s\n' "$text" >&2
  [ -z "$CONSOLE" ] || { printf '%s\r\n' "$text" >>"$CONSOLE"; } 2>/dev/null || :
}

die() {
  say "$2"
  exit "$1"
}

misused() {
  echo "$usage" >&2
  exit 2
}

# --- settings -------------------------------------------------------------------------------------------------------

settings() {
  url=${ROLLCALL_URL-} pin=${ROLLCALL_PIN-} aud=${ROLLCALL_AUDIENCE-} serial=${ROLLCALL_SERIAL-}
  env=${ROLLCALL_ENV:-/etc/rollcall/client.env}
  # shellcheck source=/dev/null
  [ ! -r "$env" ] || . "$env"
  ROLLCALL_URL=${url:-${ROLLCALL_URL-}} ROLLCALL_PIN=${pin:-${ROLLCALL_PIN-}}
  ROLLCALL_AUDIENCE=${aud:-${ROLLCALL_AUDIENCE-}} ROLLCALL_SERIAL=${serial:-${ROLLCALL_SERIAL-}}
}

server_settings() {
  case $ROLLCALL_URL in https://?*) ;; *) die 2 "ROLLCALL_URL must be the server's address, https://... (environment or $env)" ;; esac
  case $ROLLCALL_PIN in sha256//?*) ;; *) die 2 "ROLLCALL_PIN must be what \`rollcall pin\` prints, sha256//... (environment or $env)" ;; esac
  ROLLCALL_URL=${ROLLCALL_URL%/}
  [ -n "$ROLLCALL_AUDIENCE" ] || ROLLCALL_AUDIENCE=$(origin "$ROLLCALL_URL")
}

# As WHATWG writes an origin: lower case, without path and default port.
origin() {
  host=${1#https://}
  host=$(printf %s "${host%%[/?#]*}" | tr '[:upper:]' '[:lower:]')
  echo "https://${host%:443}"
}

# --- who this machine is --------------------------------------------------------------------------------------------

# A device tree ends its texts with NUL, makers pad theirs with spaces.
fact() { [ ! -r "$1" ] || tr -d '\000\r\n' <"$1" 2>/dev/null | sed 's/^ *//; s/ *$//'; }

# Boards whose maker set no serial share these, so they name no machine.
is_serial() {
  case $1 in '' | *[!A-Za-z0-9._:/+\&#\ -]* | *'  '*) return 1 ;; esac
  case $1 in *[A-Za-z0-9]*) ;; *) return 1 ;; esac
  case $1 in *[!0]*) ;; *) return 1 ;; esac
  [ ${#1} -le 64 ] || return 1
  case $(printf %s "$1" | tr '[:upper:]' '[:lower:]') in
    none | 'default string' | 'to be filled by o.e.m.' | 'system serial number' | 'not specified' | 0123456789) return 1 ;;
  esac
}

find_serial() {
  SERIAL=$(printf %s "$ROLLCALL_SERIAL" | sed 's/^ *//; s/ *$//')
  if [ -n "$SERIAL" ]; then
    is_serial "$SERIAL" || die 2 "ROLLCALL_SERIAL is no serial number: $(json "$SERIAL")"
    return
  fi
  for file in "$DMI/product_serial" "$TREE/serial-number" "$DMI/board_serial" "$DMI/chassis_serial"; do
    SERIAL=$(fact "$file")
    is_serial "$SERIAL" && return
    [ -z "$SERIAL" ] || say "$file says \"$(json "$SERIAL")\", which names no machine; looking further"
  done
  die 1 "this machine tells no serial number of its own; write ROLLCALL_SERIAL='...' into $env"
}

find_uuid() {
  UUID=$(fact "$DMI/product_uuid" | tr '[:upper:]' '[:lower:]')
  case $UUID in
    *[!0-9a-f-]* | 00000000-0000-0000-0000-000000000000 | ffffffff-ffff-ffff-ffff-ffffffffffff) UUID='' ;;
    ????????-????-????-????-????????????) ;;
    *) UUID='' ;;
  esac
}

# Of real interfaces: bridges and tunnels have no device behind them.
macs() {
  list=''
  for card in "$NET"/*; do
    [ -e "$card/device" ] || continue
    mac=$(fact "$card/address" | tr '[:upper:]' '[:lower:]')
    case $mac in 00:00:00:00:00:00 | *[!0-9a-f:]*) continue ;; ??:??:??:??:??:??) list="$list${list:+,}\"$mac\"" ;; esac
  done
  printf '[%s]' "$list"
}

# The key belongs to the machine, not to the disk: a copied disk must not speak for the machine that it was copied from.
check_binding() {
  bind="serial=$SERIAL
uuid=$UUID"
  [ "$(cat "$STATE/device.bind" 2>/dev/null)" = "$bind" ] && return
  if [ -e "$KEY" ] && [ -e "$STATE/device.bind" ]; then
    n=1
    while [ -e "$KEY.other-$n" ]; do n=$((n + 1)); done
    say '!!! THIS DISK COMES FROM ANOTHER MACHINE, or its serial number or UUID was changed.'
    say "!!! The other machine was: $(tr '\n' ' ' <"$STATE/device.bind" | tr -cd ' -~')"
    say "!!! Its key is set aside as $KEY.other-$n. This machine makes its own key and calls in anew."
    # The key goes last: until then a power cut finds everything as it was.
    rm -rf "$STATE/applied" "$STATE/steps" "$STATE/reports"
    sync
    mv "$KEY" "$KEY.other-$n" || die 1 "cannot write to $STATE"
  fi
  printf '%s\n' "$bind" | keep "$STATE/device.bind" || die 1 "cannot write to $STATE"
}

find_identity() {
  find_serial
  find_uuid
  check_binding
  if [ ! -s "$KEY" ]; then
    # The binding is on the disk before the key, so that a key without one was put there by an admin.
    openssl ecparam -name prime256v1 -genkey -noout >"$W/key" 2>"$W/why" || die 1 "cannot make a key: $(tail -n 1 "$W/why")"
    keep "$KEY" <"$W/key" || die 1 "cannot write to $STATE"
    rm -f "$W/key"
  fi
  chmod 0600 "$KEY"
  JWK=$(jwk 2>/dev/null) || die 1 "$KEY is no P-256 key; move it away and a new one is made"
  THUMBPRINT=$(printf %s "$JWK" | openssl dgst -sha256 -binary | b64u)
}

identity() {
  printf '{"serial":"%s",' "$SERIAL"
  [ -z "${ROLLCALL_PROFILE-}" ] || printf '"profile":"%s",' "$(json "$ROLLCALL_PROFILE")"
  printf '"identity":{"kind":"key","jwk":%s},"macs":%s' "$JWK" "$(macs)"
  [ -z "$UUID" ] || printf ',"uuid":"%s"' "$UUID"
  printf '}\n'
}

# --- calling in -----------------------------------------------------------------------------------------------------

hint() { json "$(fact "$DMI/$1")" | head -c 200 | sed 's/\\*$//'; }

payload() {
  printf '{"sub":"%s","aud":"%s","eat_nonce":"%s","jti":"%s","iat":%s,"uptime":%s,' "$SERIAL" "$(json "$ROLLCALL_AUDIENCE")" \
    "$1" "$(openssl rand -hex 16)" "$(date +%s)" "$(uptime)"
  printf '"hw":{"vendor":"%s","product":"%s","serial":"%s","uuid":"%s","macs":%s}}' \
    "$(hint sys_vendor)" "$(hint product_name)" "$(hint product_serial)" "$UUID" "$(macs)"
}

# Why no answer came, for somebody who knows nothing of curl's numbers.
no_answer() {
  case $rc in
    5 | 6) why='its name cannot be found. Check the network cable and the DNS server' ;;
    7) why='nothing answers there. Check the network cable, the address and whether the server runs' ;;
    28) why='it does not answer in time. Check the network cable and the firewall' ;;
    90) why='IT SHOWS A KEY THAT THIS MACHINE WAS NOT TOLD TO TRUST. Something stands in between, or the pin in this image is old' ;;
    35 | 56 | 18 | 52) why='the connection broke' ;;
    *) why="curl says: $(tail -n 1 "$W/why" 2>/dev/null | tr -cd ' -~')" ;;
  esac
  say "no answer from $ROLLCALL_URL: $why. Trying again."
}

fetch_nonce() {
  wait=2
  while :; do
    call --max-time 20 "$ROLLCALL_URL/v1/challenge"
    nonce=$(header rollcall-nonce)
    case $status/$nonce in 200/????????????????????????????????????????????????)
      set_clock
      return
      ;;
    esac
    if [ "$status" = 000 ]; then
      no_answer
      pause "$wait"
    elif [ "$status" = 503 ]; then
      say "the server asks to wait ($(refusal))"
      pause "$(header retry-after)"
    else
      say "$ROLLCALL_URL answers $status where a Rollcall server answers 200: is the address right? Trying again."
      pause "$SLOW"
    fi
    wait=$((wait * 2))
    [ "$wait" -le 60 ] || wait=60
  done
}

# An answer that was cut or changed on its way counts as none.
intact() {
  digest=$(header rollcall-digest)
  [ "$digest" = "sha256=$(openssl dgst -sha256 -r "$W/body" | cut -d ' ' -f 1)" ] && [ -s "$W/body" ]
}

# Sends the claim until an answer comes. The server repeats its answer for 120 s, so the same bytes go again up to then, and no longer.
send_claim() {
  begun=$(uptime) wait=1
  while :; do
    call "$ROLLCALL_URL/v1/claim" -H 'Content-Type: application/jose' --data-binary @"$W/jws"
    if [ "$status" = 200 ] && ! intact; then
      status=000 rc=18
    fi
    [ "$status" = 000 ] || return 0
    no_answer
    [ $(($(uptime) - begun)) -lt "${ROLLCALL_SAME_CLAIM:-90}" ] || return 1
    pause "$wait"
    wait=$((wait * 2))
    [ "$wait" -le 16 ] || wait=16
  done
}

# What a refusal means, in words that can be read out over a telephone.
explain() {
  answer=$(refusal)
  code=${answer%%:*}
  say "serial number $SERIAL, key $THUMBPRINT, server $ROLLCALL_URL: refused ($status ${answer:-without a reason})."
  case $code in
    device_unknown)
      say 'This serial number is not on the roll with this key. Tell your admin the serial number and the key above,'
      say 'or give him the next line to import (with a profile). This machine keeps asking; nothing needs to be pressed.'
      say "$(identity)"
      ;;
    pending_approval) say 'An admin must approve this machine. It keeps asking; nothing needs to be pressed.' ;;
    cluster_not_ready) say 'The cluster is not ready for this machine yet. It keeps asking; nothing needs to be pressed.' ;;
    busy | shutting_down | datastore_unavailable) say 'The server is busy or restarting. This machine keeps asking; nothing needs to be pressed.' ;;
    device_revoked | device_retired) say 'This machine was taken off the roll. Ask your admin whether that is meant.' ;;
    reenroll_denied) say 'This machine has joined its cluster before. An admin must allow it to enrol again (verb reenroll).' ;;
    identity_conflict) say 'Another key is bound to this serial number. Tell your admin: either this disk or that machine is a copy.' ;;
    trust_too_low) say 'The admin asks for a stronger proof than this machine can give.' ;;
    not_armed) say 'An admin must arm this machine first.' ;;
    state_conflict) say 'The cluster takes no further machine in this role. Tell your admin.' ;;
    wrong_audience) say "The server does not go by the name $ROLLCALL_AUDIENCE. Its admin sets ROLLCALL_AUDIENCES, or this image's ROLLCALL_URL." ;;
    nonce_invalid | nonce_expired | claim_replayed) say 'The claim was too late; making a new one.' ;;
    *) say "Tell your admin these words. This machine keeps asking." ;;
  esac
}

# Claims until a document is there, in $W/body.
claim_document() {
  nonce='' stale=0
  say "serial number $SERIAL, key $THUMBPRINT: calling in at $ROLLCALL_URL"
  while :; do
    [ -n "$nonce" ] || fetch_nonce
    jws ztp-claim+jwt "$(payload "$nonce")" || die 1 'cannot sign the claim'
    nonce=''
    send_claim || continue
    set_clock
    [ "$status" != 200 ] || return 0
    explain
    case $status/$code in
      401/nonce_*)
        # A server that refuses its own nonces again and again has a fault; it must not be hammered.
        stale=$((stale + 1))
        [ "$stale" -le 3 ] || pause "$SLOW"
        nonce=$(header rollcall-nonce)
        ;;
      409/claim_replayed) pause 2 ;;
      503/* | 429/*) pause "$(header retry-after)" ;;
      500/*) pause 15 ;;
      *) pause "$SLOW" ;;
    esac
  done
}

media_type() { header content-type | sed 's/ *;.*//'; }

claim() {
  out=${1:-$RUN/user-data}
  if [ -e "$STATE/applied" ]; then
    say 'the document was applied before; nothing to do'
    return 0
  fi
  server_settings
  claim_document
  if ! { header content-type | keep "$out.type" && header rollcall-digest | keep "$out.digest" &&
    header rollcall-enrollment | keep "$RUN/enrollment" && keep "$out" <"$W/body"; }; then
    die 1 "cannot write $out"
  fi
  say "the document is here ($(media_type), $(header rollcall-enrollment))"
}

data_url() { printf 'data:;base64,%s' "$(openssl base64 -A <"$1")"; }

ignition() {
  server_settings
  while claim_document && [ "$(media_type)" != application/vnd.coreos.ignition+json ]; do
    say "the server gave $(media_type), but Ignition is wanted here: the device's profile must say \"document\": \"ignition\""
    pause "$SLOW"
  done
  version=$(header content-type | sed -n 's/.*version=\([0-9.]*\).*/\1/p')
  {
    printf '{"ignition":{"version":"%s","config":{"merge":[{"source":"%s"}]}},' "${version:-3.3.0}" "$(data_url "$W/body")"
    printf '"storage":{"directories":[{"path":"/var/lib/rollcall","mode":448}],"files":['
    printf '{"path":"/var/lib/rollcall/device.key","mode":384,"overwrite":true,"contents":{"source":"%s"}},' "$(data_url "$KEY")"
    printf '{"path":"/var/lib/rollcall/device.bind","mode":384,"overwrite":true,"contents":{"source":"%s"}}]}}\n' "$(data_url "$STATE/device.bind")"
  } | keep "$1" || die 1 "cannot write $1"
  header rollcall-enrollment | keep "$RUN/enrollment"
  say "the document is here ($(header rollcall-enrollment)); it goes into $1"
}

apply() {
  [ -e "${ROLLCALL_SEED:-/var/lib/cloud/seed/nocloud}/user-data" ] ||
    die 1 'this system was not made from a Rollcall seed, so a restart would not make it claim again: install it anew'
  rm -rf "$STATE/applied" "$STATE/steps" "$STATE/reports" || die 1 "cannot write to $STATE"
  sync
  say 'restarting, to call in again'
  ${ROLLCALL_RESTART:-systemctl reboot}
}

main() {
  for tool in curl openssl; do
    command -v "$tool" >/dev/null 2>&1 || die 1 "$tool is missing"
  done
  settings
  case ${1-} in identity | claim | ignition | check | apply) command=$1 ;; *) misused ;; esac
  shift
  out=''
  case $command/$#/${1-} in
    claim/2/--out | ignition/2/--out) out=$2 ;;
    claim/0/ | identity/0/ | check/0/ | apply/0/) ;;
    *) misused ;;
  esac
  # A directory that is there keeps its mode: it may be more than the client's.
  if ! { mkdir -p "$STATE" "$RUN" && W=$(mktemp -d "$RUN/client.XXXXXX"); }; then
    die 1 "cannot make $STATE and $RUN"
  fi
  trap 'rm -rf "$W"' EXIT
  trap 'exit 130' INT TERM HUP
  [ "$command" = apply ] || find_identity
  case $command in identity) identity ;; claim) claim "$out" ;; ignition) ignition "$out" ;; check) ;; apply) apply ;; esac
}

main "$@"
