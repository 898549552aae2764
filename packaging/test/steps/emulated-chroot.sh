# An emulated machine whose systemd is too new for qemu-user: the package in a root without one, and a stand-in for the
# socket that the daemon reports to. Runs in namespaces of its own.
# shellcheck shell=bash
enter_emulated() {
  local root=$1 arch=$2 daemon
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/run"
  ip link set lo up
  suite="$suite $arch"
  inside() { chroot "$root" env PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }

  cp "$deb" "$root/root/"
  check "$suite: installed" inside dpkg -i "/root/$(basename "$deb")"
  cloud_configuration >"$root/etc/holdfast/conf.d/10-site.toml"
  python3 "$here/notify-listener.py" "$root/run/notify" >"$work/notified" &
  within 5 test -S "$root/run/notify"
  chroot --userspec=holdfast:holdfast "$root" env NOTIFY_SOCKET=/run/notify PATH=/usr/bin:/bin \
    /usr/bin/holdfast run --config /etc/holdfast/holdfast.toml >"$work/output" 2>&1 &
  daemon=$!
  check "$suite: it says that it is ready" ready
  same "$suite: on this architecture's own runtime" arm "$(inside /usr/lib/holdfast/bin/node -p process.arch)"
  # the peers are the host's: it is not they that are looked at
  mosquitto -p 1884 >/dev/null 2>&1 &
  within 5 mosquitto_sub -h 127.0.0.1 -p 1884 -t x -E
  mosquitto_sub -h 127.0.0.1 -p 1884 -q 1 -t 'site/#' -C 1 -W 60 -F %p >"$work/received" &
  local subscriber=$!
  check "$suite: a CoAP message is stored" acknowledged
  wait $subscriber || true
  same "$suite: and forwarded" one "$(cat "$work/received")"
  kill -TERM $daemon || true
  local code=0
  wait $daemon || code=$?
  same "$suite: it stops in order" 0 $code
  check "$suite: and says so" within 5 grep -q STOPPING=1 "$work/notified"
  check "$suite: it is purged" inside dpkg --purge holdfast
}

ready() {
  within 60 grep -q READY=1 "$work/notified" || {
    cat "$work/output"
    return 1
  }
}

acknowledged() {
  coap-client-notls -v 7 -B 10 -m post -e one coap://127.0.0.1/ps/hall/t 2>&1 | grep -F 2.04
}
