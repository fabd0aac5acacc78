#!/bin/sh
# Stands in for K3s' installer: same variables, same files, no download. What it was called with is kept for the test to read.
set -eu
umask 077
mkdir -p /var/lib/lab
env | grep -E '^(INSTALL_)?K3S_' | sort >/var/lib/lab/installer.env
printf '%s\n' "$#" >/var/lib/lab/installer.args
echo x >>/var/lib/lab/installer.runs

# As the real one: it refuses to skip the download of what is not there.
[ "${INSTALL_K3S_SKIP_DOWNLOAD:-}" = binary ] || [ "${INSTALL_K3S_SKIP_DOWNLOAD:-}" = true ]
bin=${INSTALL_K3S_BIN_DIR:-/usr/local/bin}
[ -x "$bin/k3s" ]

# shellcheck disable=SC2086 # words, as the real one takes them
set -- ${INSTALL_K3S_EXEC:-server} "$@"
case $1 in
  server) name=k3s type=notify ;;
  agent) name=k3s-agent type=exec ;;
  *) exit 1 ;;
esac
env | grep '^K3S_' >"/etc/systemd/system/$name.service.env" || :
umask 022
cat >"/etc/systemd/system/$name.service" <<UNIT
[Unit]
Wants=network-online.target
After=network-online.target
[Service]
Type=$type
NotifyAccess=all
EnvironmentFile=-/etc/systemd/system/$name.service.env
Restart=always
RestartSec=1s
TimeoutStartSec=0
ExecStart=$bin/k3s $*
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
[ "${INSTALL_K3S_SKIP_ENABLE:-}" = true ] || systemctl enable "$name.service"
[ "${INSTALL_K3S_SKIP_START:-}" = true ] || systemctl restart "$name.service"
