#!/bin/sh
# The part of rollcall-node that only servers of a cluster need: they redeem their join ticket, and as long as they are servers they run the roll's
# tasks and tell what their cluster shows. What is secret goes to kubectl on standard input.
# shellcheck disable=SC2154,SC2034 # what rollcall-node sets and reads

# Asks for the cluster's server token. 2: the join token ended.
redeem() {
  nonce='' told=''
  while :; do
    if [ -z "$nonce" ]; then
      call --max-time 20 "$ROLLCALL_URL/v1/challenge"
      nonce=$(header rollcall-nonce)
      DETAIL="no challenge: $status $(refusal)"
      [ -n "$nonce" ] || return 1
    fi
    proof "$nonce" || return 1
    nonce='' begun=$(uptime)
    while send_proof && [ "$status" = 000 ] && [ $(($(uptime) - begun)) -lt 150 ]; do pause 2; done
    DETAIL="$status $(refusal)"
    case $DETAIL in
      200*)
        DETAIL='the server gave no token'
        token=$(head -c 99 "$W/body")
        [ "${#token}" -eq 64 ] || return 1
        case $token in *[!0-9a-f]*) return 1 ;; esac
        DETAIL="cannot write to $ETC/rancher"
        begin && forget_other_ca || return
        DETAIL="cannot write to $ETC/rancher"
        echo "$token" | keep "$ETC/rancher/k3s/token" && echo | keep "$STEPS/redeemed" && DETAIL=''
        return
        ;;
      '401 token_invalid'*) return 2 ;;
      '401 nonce_'*) nonce=$(header rollcall-nonce) ;;
      '409 claim_replayed'*) pause 1 ;;
      503*)
        wait=$(header retry-after)
        [ "$told" = "$DETAIL" ] || report k3s.join start "waiting: $DETAIL"
        told=$DETAIL
        flush
        # Its turn passed on: two that begin one cluster end it. A roll that is away for a moment says nothing about that.
        case $DETAIL in '503 cluster_not_ready'*) [ ! -e "$STEPS/started" ] || { run systemctl stop "$UNIT" && rm -f "$STEPS/started"; } ;; esac
        pause "$wait"
        ;;
      *) return 1 ;;
    esac
  done
}

# K3s made certificates here, and the cluster has others: another server made it while this one was away. K3s would take those from the datastore, go on
# serving with its own, which no node trusts, and never come up (seen on v1.36.3). What counts is in the datastore.
forget_other_ca() {
  ca=$(header rollcall-ca-hash)
  [ -n "$ca" ] && [ -e "$DATA/server/tls/server-ca.crt" ] || return 0
  [ "$(ca_hash)" != "$ca" ] || ! serves_with_its_ca || return 0
  run systemctl stop "$UNIT" && rm -f "$STEPS/started" && wipe 'what K3s made here for a cluster that another server made'
}

serves_with_its_ca() {
  sed -n 's/.*"tls.crt": *"\([^"]*\)".*/\1/p' "$DATA/server/tls/dynamic-cert.json" 2>/dev/null | openssl base64 -d -A >"$W/serving"
  [ ! -s "$W/serving" ] || openssl verify -partial_chain -no_check_time -CAfile "$DATA/server/tls/server-ca.crt" "$W/serving" >/dev/null 2>&1
}

# Who begins a cluster is known only now: with embedded etcd it is told to K3s in a file of its own.
begin() {
  start=$(header rollcall-start)
  # An own template may be too old to name the datastore.
  case ${ROLLCALL_DATASTORE:-${start:+embedded-etcd}}/$start in
    embedded-etcd/init) first='cluster-init: "true"' ;;
    embedded-etcd/join)
      DETAIL='the document does not say ROLLCALL_API'
      [ -n "$ROLLCALL_API" ] || return 1
      first="server: \"$ROLLCALL_API\""
      ;;
    embedded-etcd/*) DETAIL='the server did not say how to start embedded etcd' && return 1 ;;
    *) return 0 ;;
  esac
  mkdir -p "$CONFIG.d" && echo "$first" | keep "$CONFIG.d/50-rollcall.yaml"
}

# What shows that this machine claimed: its key's signature, or without a key one number that stays the same.
proof() {
  : >"$W/jws"
  extra='header = "Content-Type: application/jose"'
  if [ ! -e "$KEY" ]; then
    [ -s "$STEPS/retry-key" ] || openssl rand -hex 16 | keep "$STEPS/retry-key"
    extra="header = \"Rollcall-Retry-Key: $(cat "$STEPS/retry-key")\""
    return
  fi
  ath=$(printf %s "$ROLLCALL_JOIN" | openssl dgst -sha256 -binary | b64u)
  jws ztp-join+jwt "{\"sub\":\"$ROLLCALL_SERIAL\",\"aud\":\"$ROLLCALL_AUDIENCE\",\"eat_nonce\":\"$1\",\"jti\":\"$(openssl rand -hex 16)\",\"ath\":\"$ath\"}"
}

send_proof() {
  call --data-binary @"$W/jws" -K - <<END
url = "$ROLLCALL_URL/v1/join"
header = "Authorization: Bearer $ROLLCALL_JOIN"
$extra
END
}

# Tells what everybody else waits for, the CA's hash; should the server be away, the service does it later. Its unit comes with the document, but for an
# own template that is older than it.
begin_tasks() {
  DETAIL='the document has no ROLLCALL_NODE: this server runs no tasks'
  [ -n "$ROLLCALL_NODE" ] || return 0
  DETAIL='' n=0
  until { observe && [ "$status" = 204 ]; } || [ "$n" -ge 10 ]; do n=$((n + 1)) && sleep 2; done
  service=$ETC/systemd/system/rollcall-node.service
  if [ ! -e "$service" ]; then
    mkdir -p "${service%/*}"
    printf '%s\n' '[Unit]' 'After=network-online.target k3s.service' '[Service]' "ExecStart=$0 tasks" 'Restart=always' 'RestartSec=30' \
      '[Install]' 'WantedBy=multi-user.target' | keep "$service" && run systemctl daemon-reload || return
  fi
  run systemctl enable rollcall-node && run systemctl --no-block restart rollcall-node
}

shown='' shown_at=-99 looked=-99 wished=-9999 noted=''

# A task that is run, to the letter; whatever else comes is refused.
label='[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?'
known="^tsk_[0-9a-z]{26} (token-create [a-z0-9]{6} [a-z0-9]{16} [1-9][0-9]{0,10}|token-delete [a-z0-9]{6}|node-(delete|ban) $label)\$"

cluster() { "$K3S" kubectl --request-timeout=20s --cache-dir="$W/cache" "$@" 2>"$W/why"; }

# One request with this node's credential: method, path, curl's further arguments.
ask() {
  method=$1 path=$2
  shift 2
  call -X "$method" "$@" -K - <<END
url = "$ROLLCALL_URL$path"
header = "Authorization: Bearer $ROLLCALL_NODE"
END
}

# As K3s counts it (pkg/clientaccess/token.go): of one certificate the file as it is, of a bundle the root's DER.
# shellcheck disable=SC2016 # sed's
ca_hash() {
  ca=$DATA/server/tls/server-ca.crt
  case $(grep -c '^-----BEGIN' "$ca" 2>"$W/why") in
    '' | 0) return 1 ;;
    1) cp "$ca" "$W/ca" ;;
    *) sed -n '/^-----BEGIN/h;/^-----BEGIN/!H;${g;p;}' "$ca" | openssl x509 -outform DER >"$W/ca" ;;
  esac && openssl dgst -sha256 -r "$W/ca" | cut -d ' ' -f 1
}

# The Nodes as JSON, one a line. A kubelet may call its version what it likes: kubectl quotes it, and what is not plain is left out.
# shellcheck disable=SC2016 # the template's
see() {
  cluster get nodes -o go-template='{{range .items}}{{$ready := "null"}}{{with .status}}{{range .conditions}}{{if eq .type "Ready"}}{{if eq .status "True"
    }}{{$ready = "true"}}{{else if eq .status "False"}}{{$ready = "false"}}{{end}}{{end}}{{end}}{{end}}{"name":{{printf "%q" .metadata.name}},"ready":{{$ready
    }},"version":{{with .status}}{{with .nodeInfo}}{{printf "%q" .kubeletVersion}}{{end}}{{end}}}{{"\n"}}{{end}}' >"$W/nodes" || return
  sed -n -e '/"version":"[A-Za-z0-9.+_-]\{1,64\}"}$/!s/"version":.*/"version":""}/' \
    -e '/^{"name":"[a-z0-9.-]\{1,253\}","ready":[a-z]*,"version":"[^"]*"}$/p' "$W/nodes"
}

pods() {
  cluster get pods --all-namespaces --field-selector=status.phase!=Running,status.phase!=Succeeded -o name >"$W/pods" && wc -l <"$W/pods"
}

# Tells the roll what the cluster shows, once a minute and when it changed. Fails if the cluster cannot be asked.
observe() {
  nodes=$(see) || return
  looked=$(uptime)
  [ "$nodes" != "$shown" ] || [ $((looked - shown_at)) -ge 60 ] || return 0
  pods=$(pods) && hash=$(ca_hash) || return
  printf '{"ca_hash":"%s","nodes":[%s],"pods_not_running":%d}' "$hash" "$(printf %s "$nodes" | tr '\n' ,)" "$pods" >"$W/report"
  ask PUT /v1/nodes --max-time 30 -H 'Content-Type: application/json' --data-binary @"$W/report"
  [ "$status" = 204 ] || return 0
  shown=$nodes shown_at=$looked
  # The roll asks for it where an admin wants it kept.
  [ "$(header rollcall-want)" != kubeconfig ] || ask PUT /v1/kubeconfig -H 'Content-Type: application/yaml' --data-binary @"$ETC/rancher/k3s/k3s.yaml"
  status=204
}

# What one server brings into its cluster, found and applied by K3s. It holds credentials, so no document has it; an admin may give it later.
manifests_of_the_roll() {
  [ ! -e "$STEPS/manifests" ] && [ $(($(uptime) - wished)) -ge 3600 ] || return 0
  ask GET /v1/manifests
  case $status in
    200) mkdir -p "$DATA/server/manifests" && keep "$DATA/server/manifests/rollcall.yaml" <"$W/body" && : >"$STEPS/manifests" ;;
    204 | 404) ;;
    *) return 0 ;;
  esac
  wished=$(uptime)
}

# For k3s.ready: what an admin would look at first.
summary() {
  nodes=$(see) && pods=$(pods) || return 0
  ready=$(printf '%s\n' "$nodes" | grep -c '"ready":true')
  all=$(printf '%s\n' "$nodes" | grep -c .)
  DETAIL="nodes ready $ready/$all, pods not running $((pods))"
}

# What Kubernetes is told for verb $1; standard input has a task a line, and what it is about.
manifests() {
  last=''
  while read -r _ name secret expiry; do
    # Neighbours mostly end in the same second, and a process for each token is a third of what they cost.
    [ "$expiry" = "$last" ] || end=$(date -u -d "@$expiry" +%Y-%m-%dT%H:%M:%SZ) last=$expiry
    case $1 in
      token-*) printf '%s\n' --- 'apiVersion: v1' 'kind: Secret' "metadata: {name: \"bootstrap-token-$name\", namespace: kube-system}" ;;
      node-delete) printf '%s\n' --- 'apiVersion: v1' 'kind: Node' "metadata: {name: \"$name\"}" ;;
      node-ban) ban "$name" ;;
    esac
    [ "$1" != token-create ] || printf '%s\n' 'type: bootstrap.kubernetes.io/token' "stringData: {token-id: \"$name\", token-secret: \"$secret\"," \
      "  expiration: \"$end\", usage-bootstrap-authentication: \"true\"}"
  done
}

# A kubelet's certificate outlives its Node by up to a year: what it writes under that name is refused. One policy a name, so that nothing need be read first.
ban() {
  admission='apiVersion: admissionregistration.k8s.io/v1'
  printf '%s\n' --- "$admission" 'kind: ValidatingAdmissionPolicy' "metadata: {name: \"rollcall-ban-$1\"}" 'spec:' '  failurePolicy: Fail' \
    '  matchConstraints:' '    resourceRules:' \
    '      - {apiGroups: [""], apiVersions: ["*"], operations: [CREATE, UPDATE], resources: [nodes, nodes/status, pods, pods/status]}' \
    '      - {apiGroups: [coordination.k8s.io], apiVersions: ["*"], operations: [CREATE, UPDATE], resources: [leases]}' \
    "  matchConditions: [{name: banned, expression: \"request.userInfo.username == 'system:node:$1'\"}]" \
    '  validations: [{expression: "false", message: this node was revoked}]' \
    --- "$admission" 'kind: ValidatingAdmissionPolicyBinding' "metadata: {name: \"rollcall-ban-$1\"}" "spec: {policyName: \"rollcall-ban-$1\", validationActions: [Deny]}"
}

# Tasks of verb $1 on standard input, as one call of kubectl.
carry_out() {
  manifests "$1" >"$W/manifests"
  case $1 in
    *-delete) cluster delete --ignore-not-found --wait=false -f - ;;
    *) cluster apply --server-side --force-conflicts --field-manager=rollcall --validate=false -f - ;;
  esac <"$W/manifests" >/dev/null
}

# Runs the tasks in $W/batch. Where kubectl fails, each is tried alone, to tell which it was. Fails, and answers none, if the cluster is away.
batch() {
  [ -s "$W/batch" ] || return 0
  if carry_out "$verb" <"$W/batch"; then
    sed 's/ .*/ ok/' "$W/batch" >>"$W/done"
  else
    cluster get --raw /readyz >/dev/null </dev/null || return
    while read -r task; do
      if printf '%s\n' "$task" | carry_out "$verb"; then result=ok; else result="fail $(why)"; fi
      echo "${task%% *} $result" >>"$W/done"
    done <"$W/batch"
  fi
  : >"$W/batch"
}

# kubectl's last words; never those that a secret stands in.
why() {
  set -- "$(tail -n 1 "$W/why" | tr -cd ' -~' | cut -c 1-300)" "$(echo "$task" | cut -d ' ' -f 3)"
  case ${2:+$1} in *"${2:-none}"*) echo 'the cluster refused it' ;; *) echo "${1:-kubectl failed}" ;; esac
}

# Runs what the roll asked for, neighbours of one verb together, in its order; then answers.
work() {
  grep -Ev "$known" "$W/body" | sed -n 's/^\(tsk_[0-9a-z]\{26\}\)\( .*\)*$/\1 fail not understood/p' >"$W/done"
  grep -E "$known" "$W/body" >"$W/tasks"
  verb='' count=0 rc=0
  : >"$W/batch"
  while read -r id next words; do
    if [ "$next" != "$verb" ] || [ "$count" -ge 100 ]; then
      batch || { rc=1 && break; }
      verb=$next count=0
    fi
    count=$((count + 1))
    echo "$id $words" >>"$W/batch"
  done <"$W/tasks"
  [ "$rc" -ne 0 ] || batch || rc=1
  [ ! -s "$W/done" ] || ask POST /v1/tasks -H 'Content-Type: text/plain' --data-binary @"$W/done"
  return "$rc"
}

# Says what is new to say.
note() {
  [ "$1" = "$noted" ] || [ -z "$1" ] || say "$1"
  noted=$1
}

tasks() {
  [ -n "$ROLLCALL_NODE" ] || die 'this node has no credential'
  wait=5
  while :; do
    # A burst of tasks is no reason to look each time.
    if [ $(($(uptime) - looked)) -ge "${ROLLCALL_LOOK:-20}" ] && ! observe; then
      note "the cluster does not answer: $(tail -n 1 "$W/why")"
      pause 20
      continue
    fi
    manifests_of_the_roll
    asked=$(uptime)
    ask GET '/v1/tasks?wait=25'
    case $status in
      200 | 204) ;;
      401)
        note "the server takes this node's credential no longer: $(refusal)"
        pause 600
        continue
        ;;
      *)
        note "the server does not answer: $status $(refusal) $(cat "$W/why")"
        pause "$wait"
        [ "$wait" -ge 240 ] || wait=$((wait * 2))
        continue
        ;;
    esac
    note ''
    wait=5
    if [ "$status" = 200 ]; then
      work && [ "$status" = 204 ] && continue
      looked=-99
    fi
    # Never without a rest, whatever is answered.
    [ $(($(uptime) - asked)) -ge 5 ] || pause 5
  done
}
