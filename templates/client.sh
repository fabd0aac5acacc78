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
       client.sh apply                    claim again, for a document in the place of the one that was applied
       client.sh place                    put the files of that document in place, where Ignition made the system'

STATE=${ROLLCALL_STATE:-/var/lib/rollcall}
RUN=${ROLLCALL_RUN:-/run/rollcall}
DMI=${ROLLCALL_DMI:-/sys/class/dmi/id}
TREE=${ROLLCALL_TREE:-/proc/device-tree}
NET=${ROLLCALL_NET:-/sys/class/net}
CONSOLE=${ROLLCALL_CONSOLE-/dev/console}
SLOW=${ROLLCALL_SLOW:-60}
KEY=$STATE/device.key
ROOT=${ROLLCALL_ROOT-}
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
    [ -n "$nonce" ] || { fetch_nonce && fetched=$(uptime); }
    jws ztp-claim+jwt "$(payload "$nonce")" || die 1 'cannot sign the claim'
    used=$nonce nonce=''
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
      409/reenroll_denied)
        pause "$SLOW"
        # What joined may still come up with what it has, and rollcall-node looks after that only when this is over.
        [ "$command" != apply ] || die 1 'this machine goes on with what it has'
        ;;
      503/* | 429/*)
        pause "$(header retry-after)"
        # Nobody took it, and it is good for 300 s: a machine that waits asks half as often.
        [ $(($(uptime) - fetched)) -ge 240 ] || nonce=$used
        ;;
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

shell_quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }

# What the installed system claims again with, should it have to.
client_env() {
  for name in URL PIN AUDIENCE SERIAL; do
    eval "value=\$ROLLCALL_$name"
    [ -z "$value" ] || printf 'ROLLCALL_%s=%s\n' "$name" "$(shell_quoted "$value")"
  done
}

# One file of an Ignition config: path, mode, what holds its contents.
ignition_file() { printf '{"path":"%s","mode":%s,"overwrite":true,"contents":{"source":"%s"}}' "$1" "$2" "$(data_url "$3")"; }

ignition() {
  server_settings
  while claim_document && [ "$(media_type)" != application/vnd.coreos.ignition+json ]; do
    say "the server gave $(media_type), but Ignition is wanted here: the device's profile must say \"document\": \"ignition\""
    pause "$SLOW"
  done
  version=$(header content-type | sed -n 's/.*version=\([0-9.]*\).*/\1/p')
  client_env >"$W/env"
  # With the client on standard input, $0 is no file, or another one.
  own=''
  if grep -qs "^AGENT=$AGENT\$" "$0"; then own=$0; else say 'this client runs from no file, so the installed system gets none and cannot claim again by itself'; fi
  {
    printf '{"ignition":{"version":"%s","config":{"merge":[{"source":"%s"}]}},' "${version:-3.3.0}" "$(data_url "$W/body")"
    printf '"storage":{"directories":[{"path":"/var/lib/rollcall","mode":448}],"files":['
    ignition_file /var/lib/rollcall/device.key 384 "$KEY" && printf ,
    ignition_file /var/lib/rollcall/device.bind 384 "$STATE/device.bind" && printf ,
    [ -z "$own" ] || { ignition_file /var/lib/rollcall/client.sh 448 "$own" && printf ,; }
    ignition_file /etc/rollcall/client.env 420 "$W/env" && printf ']}}\n'
  } | keep "$1" || die 1 "cannot write $1"
  header rollcall-enrollment | keep "$RUN/enrollment"
  say "the document is here ($(header rollcall-enrollment)); it goes into $1"
}

# --- claiming again -------------------------------------------------------------------------------------------------

apply() {
  if [ -e "${ROLLCALL_SEED:-/var/lib/cloud/seed/nocloud}/user-data" ]; then
    # Asked for before the restart: what joined and may not claim again would wait there for an admin, with nothing started.
    find_identity
    server_settings
    claim_document
    rm -rf "$STATE/applied" "$STATE/steps" "$STATE/reports" || die 1 "cannot write to $STATE"
    sync
    say 'restarting, to call in again'
    ${ROLLCALL_RESTART:-systemctl reboot}
  elif [ -s "$KEY" ] && [ -s "$ROOT/etc/rollcall/install.env" ]; then
    # Before the claim, which ends the enrollment that is there.
    command -v awk >/dev/null 2>&1 || die 1 'awk is missing, so this system cannot claim again: install it anew'
    find_identity
    prepare
  else
    die 1 'this system has neither a Rollcall seed nor a key of its own, so it cannot claim again: install it anew'
  fi
}

# For a system that Ignition installed, and installs no more. Of a new document it needs what belongs to the enrollment; that waits in $STATE/next until
# rollcall-node starts again and has it put in place. Before the list of it is complete nothing has changed; from then on the new document counts.
prepare() {
  next=$STATE/next report_url='' found=' ' install='' count=0
  server_settings
  claim_document
  [ "$(media_type)" = application/vnd.coreos.ignition+json ] || refuse "the server gave $(media_type), and this system was installed by Ignition"
  json_lines <"$W/body" >"$W/lines" || refuse 'the document is not the JSON that this machine can read'
  files_of_enrollment <"$W/lines" >"$W/files" || refuse "$(tail -n 1 "$W/files")"
  rm -rf "$next"
  mkdir "$next" || die 1 "cannot write to $STATE"
  while read -r mode path content; do
    count=$((count + 1))
    unpack "$next/$count"
    echo "$mode $count $path"
  done <"$W/files" >"$W/list"
  check_files
  sync
  keep "$next/complete" <"$W/list" || die 1 "cannot write to $STATE"
  say "the document is here ($(header rollcall-enrollment)); rollcall-install.service goes on with it when it starts again"
}

# Puts the files of the new document in place, if all of them are there. After a power cut all of it is done again.
place() {
  list=$STATE/next/complete
  if [ -s "$list" ]; then
    # What another enrollment left here must not start with this one's configuration. One by one: systemctl does nothing at all when one is not there.
    for verb in disable stop; do
      for unit in k3s k3s-agent rollcall-node; do systemctl "$verb" "$unit"; done
    done >/dev/null 2>&1
    rm -f "$RUN/enrollment" "$STATE/enabled" "$STATE/k3s.source" "$ROOT/etc/rollcall/k3s.env"
    ! grep -qsx "# Rollcall's" "$ROOT/etc/rancher/k3s/registries.yaml" || rm -f "$ROOT/etc/rancher/k3s/registries.yaml"
    while read -r mode name file; do
      place_file "$STATE/next/$name" "$mode" "$file" || die 1 "cannot write $file"
    done <"$list"
    sync
    rm -f "$list" || die 1 "cannot write to $STATE"
    sync
    say 'the new document is in place'
  fi
  rm -rf "$STATE/next" || die 1 "cannot write to $STATE"
}

place_file() {
  (umask 022 && mkdir -p "${3%/*}") && cat "$1" >"$3.new" && chmod "$2" "$3.new" && { sync "$3.new" 2>/dev/null || sync; } && mv -f "$3.new" "$3"
}

# One file into $1, by the line that was read. K3s itself is only noted, and brought by rollcall-node.
unpack() {
  if [ "$mode" = k3s ]; then
    echo "$path $content" >"$1" || die 1 "cannot write to $STATE"
    mode=0600 path=$STATE/k3s.source
    return
  fi
  printf %s "$content" | openssl base64 -d -A >"$1" 2>"$W/why"
  [ "$(openssl base64 -A <"$1")" = "$content" ] || refuse "what the document has for $path cannot be read"
  found="$found$path "
  case $path in
    /etc/rollcall/install.env) install=$1 ;;
    /etc/rollcall/node.env) report_url=$(said_by "$1" ROLLCALL_REPORT) ;;
  esac
  path=$ROOT$path
}

# A document that is whole, of this claim, and for a system like this one: its units stay as they are.
check_files() {
  for file in rollcall/install.env rollcall/node.env rancher/k3s/config.yaml; do
    case $found in *" /etc/$file "*) ;; *) refuse "the document has no /etc/$file" ;; esac
  done
  [ "$(kind_of "$install")" = "$(kind_of "$ROOT/etc/rollcall/install.env")" ] ||
    refuse "the document is for another kind of system ($(kind_of "$install")) than this one ($(kind_of "$ROOT/etc/rollcall/install.env"))"
  case $(kind_of "$install")/$found in *' agent '*/*' /etc/rancher/k3s/token '* | *' server '*) ;; *) refuse 'the document has no token' ;; esac
  [ "$(said_by "$install" ROLLCALL_ENROLLMENT)" = "$(header rollcall-enrollment)" ] || refuse 'the document is that of another enrollment'
}

# What variable $2 is by the file of settings $1.
# shellcheck source=/dev/null
said_by() { (unset "$2" && . "$1" && eval "echo \"\${$2-}\""); }

kind_of() { echo "$(said_by "$1" ROLLCALL_OS) $(said_by "$1" ROLLCALL_ROLE) $([ -z "$(said_by "$1" ROLLCALL_CONTAINER)" ] || echo 'in a container')"; }

# The new enrollment has replaced the old one, whose reports nobody takes any more: the timeline hears of it by the new one, if it is known.
refuse() {
  rm -rf "$next"
  case $report_url in
    *[!A-Za-z0-9:/._~%-]* | '') ;;
    *)
      printf '{"step":"document.applied","result":"fail","detail":"%s"}' "$(json "$1; install it anew")" >"$W/report"
      call -H 'Content-Type: application/json' --data-binary @"$W/report" -K - <<END
url = "$report_url"
END
      ;;
  esac
  die 1 "$1. Nothing was changed. Install this system anew"
}

# JSON as one line a value: where it stands, a tab, the value; a text begins with a quote and ends without one. Such a machine has no program for JSON.
# Quotes part the records, so every other record is a text or, where a backslash precedes its quote, a piece of one; with a line end after it, a quote at
# the end begins one too. Fails at what is no JSON, and at what no document of ours has: fractions, member names that are not plain, a member twice.
json_lines() {
  { cat && echo; } | tr '\000' '\001' | awk '
    function bad() { failed = 1; exit 1 }
    function place(  i, path) { for (i = 1; i <= depth; i++) path = path "." at[i]; return path }
    function value(text) {
      if (state != "value" && state != "first") bad()
      print place() "\t" text
      state = depth ? "after" : "end"
    }
    function open(kind) {
      if (state != "value" && state != "first") bad()
      kinds[++depth] = kind
      at[depth] = 0
      state = kind == "{" ? "member" : "first"
    }
    function shut(kind) {
      if (!depth || kinds[depth] != kind || (state != "after" && state != "member" && state != "first")) bad()
      state = --depth ? "after" : "end"
    }
    function comma() {
      if (state != "after") bad()
      if (kinds[depth] == "[") at[depth]++
      state = kinds[depth] == "[" ? "value" : "name"
    }
    function quoted(text,  rest) {
      rest = text
      if (index(text, "\\")) gsub(/\\(["\\\/bfnrt]|u[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f])/, "", rest)
      if (rest ~ /[\001-\037\\]/) bad()
      if (state != "name" && state != "member") { value("\"" text); return }
      if (text !~ /^[A-Za-z][A-Za-z0-9]*$/) bad()
      at[depth] = text
      if (place() in seen) bad()
      seen[place()] = 1
      state = "colon"
    }
    function bare(text,  c) {
      while (text != "") {
        c = substr(text, 1, 1)
        if (match(text, /^(true|false|null|0|-?[1-9][0-9]*)/)) { value(substr(text, 1, RLENGTH)); text = substr(text, RLENGTH + 1); continue }
        if (c == "{" || c == "[") open(c)
        else if (c == "}") shut("{")
        else if (c == "]") shut("[")
        else if (c == ",") comma()
        else if (c == ":" && state == "colon") state = "value"
        else if (c != " " && c != "\t" && c != "\r" && c != "\n") bad()
        text = substr(text, 2)
      }
    }
    BEGIN { RS = "\""; state = "value" }
    !inside { bare($0); inside = 1; text = ""; next }
    { text = text $0 }
    match($0, /\\+$/) && RLENGTH % 2 { text = text "\""; next }
    { quoted(text); inside = 0 }
    END { if (failed || !inside || state != "end") exit 1 }'
}

# Those files of a config that belong to the enrollment, one a line: mode, path, base64; of K3s the SHA-256 and where it is. Everything else is the
# system, which Ignition made, and stays as it is. Fails, with a sentence as last line, at what it cannot do to the letter.
files_of_enrollment() {
  awk '
    function bad(text) { print text; failed = 1; exit 1 }
    function is_k3s(path) { return path == "/usr/local/bin/k3s" || path == "/opt/bin/k3s" }
    function ours(path) {
      return path ~ /^\/etc\/(rollcall|rancher)\// || path ~ /^\/etc\/(containers\/systemd\/k3s(-agent)?\.container|systemd\/system\/k3s(-agent)?\.service)$/ ||
        path == "/usr/local/sbin/rollcall-node" || path == "/opt/bin/rollcall-node" || is_k3s(path)
    }
    # Members that are not known may change what the others mean.
    function known(member, value) {
      return member == "path" || member == "mode" || member == "overwrite" || member == "contents.source" ||
        member == "contents.verification.hash" || ((member == "user.id" || member == "group.id") && value == 0)
    }
    function file(n, path,  mode, source, hash, i, count, member) {
      count = split(members[n], member, " ")
      for (i = 1; i <= count; i++) if (!known(member[i], got[n, member[i]])) bad("the document says " member[i] " of " path ", which this machine cannot do")
      mode = got[n, "mode"]
      source = substr(got[n, "contents.source"], 2)
      hash = substr(got[n, "contents.verification.hash"], 2)
      if (path !~ /^[A-Za-z0-9.\/_-]+$/ || mode !~ /^[0-9]+$/ || mode + 0 > 511) bad("path and mode of " path " are not what this machine expects")
      if (source ~ /^data:[^,]*;base64,[A-Za-z0-9+\/]*=*$/ && hash == "") {
        printf "%04o %s %s\n", mode, path, substr(source, index(source, ",") + 1)
      } else if (is_k3s(path) && source ~ /^https?:\/\/[!-~]+$/ && (hash == "" || (hash ~ /^sha256-[0-9a-f]+$/ && length(hash) == 71))) {
        print "k3s", hash == "" ? "-" : substr(hash, 8), source
      } else bad("the document has " path " in a form that this machine cannot read")
    }
    BEGIN { FS = "\t"; last = -1 }
    $2 == "null" { next }
    $1 == ".ignition.version" { version = $2 }
    $1 ~ /^\.ignition\.config\./ { bad("the document has parts that are elsewhere") }
    $1 ~ /^\.storage\.(files|directories|links)\.[0-9]+\.path$/ {
      path = substr($2, 2)
      if ($2 !~ /^"\// || path ~ /\\/ || path ~ /\/\.?\.?(\/|$)/) bad("the document has a path that is not clean")
      if (path in seen) bad("the document has " path " twice")
      seen[path] = 1
      if ($1 !~ /^\.storage\.files/ && ours(path)) bad("the document has " path ", which is no file")
    }
    $1 ~ /^\.storage\.files\.[0-9]+\./ {
      split($1, part, ".")
      n = part[4]
      member = substr($1, length(".storage.files..") + length(n) + 1)
      members[n] = members[n] " " member
      got[n, member] = $2
      last = n
    }
    END {
      if (failed) exit 1
      if (version !~ /^"3\.[0-9]+\.[0-9]+$/) bad("the document is of a version of Ignition that this machine does not know")
      for (n = 0; n <= last; n++) {
        if (!((n, "path") in got)) bad("the document has a file without a path")
        path = substr(got[n, "path"], 2)
        if (ours(path)) file(n, path)
      }
    }'
}

main() {
  for tool in curl openssl; do
    command -v "$tool" >/dev/null 2>&1 || die 1 "$tool is missing"
  done
  settings
  case ${1-} in identity | claim | ignition | check | apply | place) command=$1 ;; *) misused ;; esac
  shift
  out=''
  case $command/$#/${1-} in
    claim/2/--out | ignition/2/--out) out=$2 ;;
    claim/0/ | identity/0/ | check/0/ | apply/0/ | place/0/) ;;
    *) misused ;;
  esac
  # A directory that is there keeps its mode: it may be more than the client's.
  if ! { mkdir -p "$STATE" "$RUN" && W=$(mktemp -d "$RUN/client.XXXXXX"); }; then
    die 1 "cannot make $STATE and $RUN"
  fi
  trap 'rm -rf "$W"' EXIT
  trap 'exit 130' INT TERM HUP
  case $command in apply | place) ;; *) find_identity ;; esac
  case $command in identity) identity ;; claim) claim "$out" ;; ignition) ignition "$out" ;; check) ;; apply) apply ;; place) place ;; esac
}

main "$@"
