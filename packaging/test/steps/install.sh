# A fresh install, and its configuration.
# shellcheck shell=bash
install_package() {
  files >"$work/files.before"
  local output
  output=$(apt install "$(give "$first")" 2>&1) || echo "$output"
  check "$suite: installed, it serves" serves
  same "$suite: it starts at boot" enabled "$(in_box systemctl is-enabled holdfast.service)"
  has "$suite: the next step is printed" 'holdfast user add NAME' "$output"
  has "$suite: it listens on loopback only" \
    '"listeners": [ "coap://127.0.0.1:5683", "mqtt://127.0.0.1:1883", "http://127.0.0.1:8080" ],' "$(in_box holdfast status --json | tr -s ' \n' ' ')"
  same "$suite: the configuration is for the daemon to read, not for the world" 'root:holdfast 640' \
    "$(in_box stat -c '%U:%G %a' /etc/holdfast/holdfast.toml)"
  same "$suite: systemd-analyze verify, where it is installed" '' \
    "$(in_box systemd-analyze verify --man=no holdfast.service holdfast.socket 2>&1)"
  check "$suite: exposure is 1.3 or better" in_box systemd-analyze security --threshold=13 --no-pager holdfast.service
  echo "        exposure $(in_box systemd-analyze security --no-pager holdfast.service | sed -n 's/.*service: //p'), \
READY after $((($(property ActiveEnterTimestampMonotonic) - $(property ExecMainStartTimestampMonotonic)) / 1000)) ms, \
$(shell 'grep VmRSS /proc/$(systemctl show -P MainPID holdfast)/status')"

  # the password is root's, and systemd hands it to the daemon
  cloud_configuration | sed '/client_id/a username = "gw"\
password_file = "/run/credentials/holdfast.service/cloud.password"' >"$box/etc/holdfast/conf.d/10-site.toml"
  echo sesame | install -m 600 /dev/stdin "$box/etc/holdfast/cloud.password"
  mkdir -p "$box/etc/systemd/system/holdfast.service.d"
  printf '[Service]\nLoadCredential=cloud.password:/etc/holdfast/cloud.password\n' \
    >"$box/etc/systemd/system/holdfast.service.d/secret.conf"
  in_box systemctl daemon-reload
  echo '# ours' >>"$box/etc/holdfast/holdfast.toml"
  echo 'HOLDFAST_APP__TIME_ZONE=Asia/Shanghai' >>"$box/etc/default/holdfast"
  check "$suite: a user is added" shell 'echo secret | holdfast user add probe'
  # who may log in is known now: from here on devices need a password, unless it is stated otherwise
  printf '[auth]\nanonymous = true\n' >"$box/etc/holdfast/conf.d/20-open.toml"
  cloud up
  check "$suite: it takes the new configuration" in_box systemctl restart holdfast.service
  has "$suite: the environment file holds for the command too" 'Asia/Shanghai' "$(in_box holdfast print-config)"
  check "$suite: coap-client publishes" publish one
  same "$suite: and mosquitto_sub receives, by a broker that asks for the password" one "$(collect 1)"
  local pid
  pid=$(property MainPID)
  printf '[log]\nlevel = "debug"\n' >"$box/etc/holdfast/conf.d/30-log.toml"
  check "$suite: reload" in_box systemctl reload holdfast.service
  has "$suite: the configuration is read again" 'the configuration was reloaded' "$(sleep 0.5 && journal)"
  same "$suite: by the same process" "$pid" "$(property MainPID)"
}
