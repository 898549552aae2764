# The tarball: install, upgrade, a broken version, uninstall.
# shellcheck shell=bash
install_tarball() {
  local tarball output
  files >"$work/files.before"
  tarball=$(LEVEL=1 "$packaging/build-tarball" amd64 "$work")
  mkdir "$box/root/one"
  tar -C "$box/root/one" --strip-components=1 -xzf "$tarball"
  check "$suite: tarball: installed" in_box /root/one/install.sh
  check "$suite: tarball: it serves" serves
  same "$suite: tarball: it starts at boot" enabled "$(in_box systemctl is-enabled holdfast.service)"
  check "$suite: tarball: coap-client publishes" publish one
  local pid
  pid=$(property MainPID)

  # a version that passes for a good one until it is started as a service
  another broken
  sed -i 's/^WatchdogSec=.*/&\nExecStartPre=\/bin\/false/' "$box/root/broken/files/usr/local/lib/systemd/system/holdfast.service"
  sed -i '$a usr/local/share/holdfast/extra' "$box/root/broken/files/usr/local/lib/holdfast/MANIFEST"
  touch "$box/root/broken/files/usr/local/share/holdfast/extra"
  output=$(in_box /root/broken/install.sh 2>&1 || true)
  has "$suite: tarball: a broken version is noticed" 'the one before is back' "$output"
  check "$suite: tarball: and the one before serves" serves
  check "$suite: tarball: with nothing of the other" test ! -e "$box/usr/local/share/holdfast/extra"

  # one that does not even start: nothing is touched
  pid=$(property MainPID)
  another useless
  sed -i 's/^/broken/' "$box/root/useless/files/usr/local/lib/holdfast/classic-level.node"
  output=$(in_box /root/useless/install.sh 2>&1 || true)
  has "$suite: tarball: one that does not start here is refused" 'the program does not start here' "$output"
  same "$suite: tarball: before anything is touched" "$pid" "$(property MainPID)"

  check "$suite: tarball: uninstalled" in_box /usr/local/lib/holdfast/uninstall.sh
  check "$suite: tarball: the data is kept" test -e "$box/var/lib/holdfast/identity.json"
  check "$suite: tarball: installed again" in_box /root/one/install.sh
  check "$suite: tarball: uninstalled with --purge" in_box /root/one/uninstall.sh --purge
  files >"$work/files.after"
  same "$suite: tarball: no file is left behind" '' "$(diff "$work/files.before" "$work/files.after")"
  same "$suite: tarball: no directory" '' "$(directories)"
  same "$suite: tarball: no user" '' "$(in_box getent passwd holdfast)"

  apt install "$(give "$first")" >/dev/null 2>&1
  output=$(in_box /root/one/install.sh 2>&1 || true)
  has "$suite: tarball: refused beside the Debian package" 'the Debian package holdfast is installed' "$output"
}

# another NAME: a copy of what was unpacked, by links: only what is written anew differs.
another() { cp -al "$box/root/one" "$box/root/$1"; }
