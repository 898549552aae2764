# An emulated machine with its own systemd.
# shellcheck shell=bash
boot_emulated() {
  local arch=$1 restarts
  suite="$suite $arch"
  # the one setting of the unit that qemu-user has no answer to
  mkdir -p "$box/etc/systemd/system/holdfast.service.d"
  printf '[Service]\nPrivateUsers=no\n' >"$box/etc/systemd/system/holdfast.service.d/emulated.conf"
  mkdir -p "$box/etc/holdfast/conf.d"
  cloud_configuration >"$box/etc/holdfast/conf.d/10-site.toml"
  cloud up
  check "$suite: installed" apt install "$(give "$deb")"
  check "$suite: it serves" within 30 serves
  same "$suite: on this architecture's own runtime" arm64 "$(in_box /usr/lib/holdfast/bin/node -p process.arch)"
  check "$suite: a CoAP message is stored" publish one
  same "$suite: and forwarded" one "$(collect 1)"
  cloud down
  check "$suite: without a link another is stored" publish two
  restarts=$(property NRestarts)
  in_box systemctl kill --signal=KILL holdfast.service
  check "$suite: after kill -9 it serves again" within 60 restarted "$restarts"
  cloud up
  same "$suite: and hands it over" two "$(collect 1)"
  check "$suite: it stops" in_box systemctl stop holdfast.service
  same "$suite: in order" success "$(property Result)"
  check "$suite: it is purged" apt purge holdfast
}
