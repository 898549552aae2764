# With holdfast.socket nothing is lost: not by a restart, a crash, or an upgrade.
# shellcheck shell=bash
hold_socket() {
  local report=$work/publisher.json total=3000 received
  in_box systemctl stop holdfast.service
  check "$suite: the version before, for an upgrade under load" apt install --allow-downgrades "$(give "$first")"
  in_box systemctl stop holdfast.service
  check "$suite: systemd takes the CoAP port" in_box systemctl enable --now --quiet holdfast.socket
  check "$suite: and the daemon takes it from there" in_box systemctl start holdfast.service
  has "$suite: it says so" 'the service manager holds the CoAP port' "$(journal --lines 20)"

  # 200 messages a second for 15 seconds
  "$here/boot" net "$box" node "$here/paced-publisher.js" 5683 $total 200 load >"$report" &
  local publisher=$!
  sleep 2
  in_box systemctl restart holdfast.service
  sleep 2
  in_box systemctl kill --signal=KILL holdfast.service
  sleep 3
  check "$suite: upgraded under load" apt install "$(give "$later")"
  wait $publisher
  echo "        $(cat "$report")"
  has "$suite: under load every message is acknowledged" "\"acknowledged\":$total," "$(cat "$report")"
  check "$suite: and handed over" within 20 queued_is 0
  received=$(in_box mosquitto_sub -h 127.0.0.1 -p 1884 -c -i collector -q 1 -t 'site/#' -W 3 -F %p 2>/dev/null || true)
  same "$suite: each of them" $total "$(sort -u <<<"$received" | wc -l)"
  echo "        $(($(wc -l <<<"$received") - total)) of $total arrived twice"
  same "$suite: the administrator's choice of the socket is kept" enabled "$(in_box systemctl is-enabled holdfast.socket)"
  in_box systemctl disable --now --quiet holdfast.socket 2>/dev/null
  check "$suite: without the socket it binds the port by itself again" in_box systemctl restart holdfast.service
  check "$suite: and answers" publish again
}
