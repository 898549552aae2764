# Remove keeps data and configuration; purge leaves nothing.
# shellcheck shell=bash
remove_package() {
  check "$suite: it is removed" apt remove holdfast
  same "$suite: it has stopped" inactive "$(in_box systemctl is-active holdfast.service)"
  check "$suite: the configuration is kept" test -e "$box/etc/holdfast/holdfast.toml"
  check "$suite: the data is kept" test -e "$box/var/lib/holdfast/identity.json"
  local identity
  identity=$(cat "$box/var/lib/holdfast/identity.json")
  check "$suite: it is installed again" apt install "$(give "$later")"
  check "$suite: it serves" within 10 serves
  same "$suite: as the same gateway" "$identity" "$(cat "$box/var/lib/holdfast/identity.json")"
  same "$suite: no unit has failed" '' "$(in_box systemctl --failed --no-legend)"

  # what the administrator made by himself is his to take away
  rm -r "$box/etc/systemd/system/holdfast.service.d" "$box/etc/holdfast/cloud.password"
  check "$suite: it is purged" apt purge holdfast
  cloud down
  files >"$work/files.after"
  same "$suite: no file is left behind" '' "$(diff "$work/files.before" "$work/files.after")"
  same "$suite: no directory" '' "$(directories)"
  same "$suite: no state of the service manager's" '' "$(cd "$box/var/lib" && find systemd dpkg -name '*holdfast*')"
  same "$suite: no user and no group" '' "$(in_box getent passwd holdfast; in_box getent group holdfast)"
}
