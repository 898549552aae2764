# An upgrade keeps everything, and what the administrator decided.
# shellcheck shell=bash
upgrade_package() {
  local identity users starts
  identity=$(cat "$box/var/lib/holdfast/identity.json")
  users=$(cat "$box/var/lib/holdfast/users.toml")
  # as in an unattended upgrade: nobody is there to answer a question
  starts=$(count_starts)
  check "$suite: it is upgraded" apt install "$(give "$later")"
  same "$suite: to the higher version" 1000.0.0 "$(in_box holdfast version)"
  check "$suite: it serves" within 10 serves
  same "$suite: restarted once" $((starts + 1)) "$(count_starts)"
  has "$suite: the edited configuration is kept" '# ours' "$(cat "$box/etc/holdfast/holdfast.toml")"
  same "$suite: as are its mode and owner" 'root:holdfast 640' "$(in_box stat -c '%U:%G %a' /etc/holdfast/holdfast.toml)"
  same "$suite: the identity is kept" "$identity" "$(cat "$box/var/lib/holdfast/identity.json")"
  same "$suite: the users are kept" "$users" "$(cat "$box/var/lib/holdfast/users.toml")"
  check "$suite: the queue is kept" within 10 queued_is 5
  cloud up
  same "$suite: and handed over, in order, when the link is back" '1 2 3 4 5' "$(collect 5 | paste -sd ' ')"

  in_box systemctl disable --now --quiet holdfast.service
  check "$suite: installed again while it is disabled" apt install --reinstall "$(give "$later")"
  same "$suite: it stays disabled" disabled "$(in_box systemctl is-enabled holdfast.service)"
  same "$suite: and stopped" inactive "$(in_box systemctl is-active holdfast.service)"
  in_box systemctl enable --now --quiet holdfast.service
}

count_starts() { journal | grep -c 'holdfast is ready'; }
