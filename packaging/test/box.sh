# Sourced by lifecycle: the box that the steps work in, a copy of a Debian root that is booted.
# shellcheck shell=bash
box=

# new_box SUITE [ARCH]: a fresh one.
new_box() {
  suite=$1
  local arch=${2:-amd64}
  box=$work/root
  cp -a --reflink=auto "$("$here/make-root" "$suite" "$arch")" "$box"
  # a box that is thrown away need not be safe from a loss of power
  echo force-unsafe-io >"$box/etc/dpkg/dpkg.cfg.d/box"
  if [ "$arch" = amd64 ]; then
    same "$suite: systemd boots" running "$("$here/boot" up "$box")"
  else
    # some of its own services ask for what is not emulated
    check "$suite $arch: systemd boots" contains "$("$here/boot" up "$box")" 'running degraded'
  fi
}

end_box() {
  [ -n "$box" ] || return 0
  [ ! -e "$box.booted" ] || "$here/boot" down "$box"
  rm -rf --one-file-system "$box"
  box=
}

# in_box COMMAND…
in_box() { "$here/boot" in "$box" "$@"; }
# shell TEXT: a shell inside.
shell() { in_box sh -c "$1"; }
# property NAME: of the service.
property() { in_box systemctl show --property "$1" --value holdfast.service; }
serves() { [ "$(property ActiveState)" = active ]; }
# restarted BEFORE: it serves, and was restarted since.
restarted() { serves && [ "$(property NRestarts)" -gt "$1" ]; }
journal() { in_box journalctl --unit holdfast.service --output cat --no-pager "$@"; }
apt() { in_box apt-get "$@" -y -qq -o Dpkg::Use-Pty=0; }
# give FILE: puts a file of the test's where the box can read it; prints the path there.
give() {
  ln -f "$1" "$box/root/"
  echo "/root/$(basename "$1")"
}
# queued: messages that wait for the upstream.
queued() { in_box holdfast status --json | sed -n 's/.*"queuedMessages": \([0-9]*\).*/\1/p'; }
queued_is() { [ "$(queued)" = "$1" ]; }
# publish PAYLOAD: as a sensor does; fails where it is not acknowledged.
publish() { in_box coap-client-notls -v 7 -B 5 -m post -e "$1" coap://127.0.0.1/ps/hall/t 2>&1 | grep -F 2.04; }
# files: all there are, but for what any work on a system leaves.
files() {
  (cd "$box" && find . -xdev ! -type d ! -path './dev/*' ! -path './var/log/*' ! -path './var/cache/*' \
    ! -path './var/lib/apt/*' ! -path './var/lib/dpkg/*' ! -path './var/lib/systemd/*' ! -path './root/*' ! -path './tmp/*' \
    ! -name '*-' ! -name '.pwd.lock' | sort)
}
directories() { (cd "$box" && find . -xdev -type d -iname '*holdfast*' ! -path './var/log/*' ! -path './root/*' | sort); }

# An upstream that is tried again often.
cloud_configuration() {
  cat <<'TOML'
[[upstream]]
name = "cloud"
urls = ["mqtt://127.0.0.1:1884"]
client_id = "gw"
backoff = { base = "100ms", cap = "500ms" }
topics = [{ topic = "#", direction = "out", qos = 1, remote_prefix = "site/" }]
TOML
}

# cloud up|down: the broker that plays the cloud, which keeps what it took for a collector that is away.
cloud() {
  case $1 in
  up)
    printf '%s\n' 'listener 1884 127.0.0.1' 'allow_anonymous true' 'persistence true' 'persistence_location /root/cloud/' \
      'max_queued_messages 0' 'password_file /root/cloud.passwords' >"$box/root/cloud.conf"
    # who gives no password may come in, who gives a wrong one may not
    shell 'mkdir -p /root/cloud; mosquitto_passwd -b -c /root/cloud.passwords gw sesame
      chown mosquitto /root/cloud; chgrp mosquitto /root/cloud.passwords; chmod 640 /root/cloud.passwords; chmod 711 /root'
    in_box systemd-run --quiet --unit=cloud mosquitto -c /root/cloud.conf
    # it may not listen yet
    within 10 in_box mosquitto_sub -h 127.0.0.1 -p 1884 -i probe -t probe -E
    # its subscription is kept too, and a second one might take messages away
    if [ ! -e "$box/root/subscribed" ]; then
      within 10 in_box mosquitto_sub -h 127.0.0.1 -p 1884 -c -i collector -q 1 -t 'site/#' -E
      touch "$box/root/subscribed"
    fi
    ;;
  down) in_box systemctl stop cloud ;;
  esac
}
# collect COUNT: so many messages that the cloud keeps for the collector, one a line, in order.
collect() { in_box mosquitto_sub -h 127.0.0.1 -p 1884 -c -i collector -q 1 -t 'site/#' -C "$1" -W 20 -F %p || true; }
