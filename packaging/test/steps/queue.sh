# The queue survives a crash; a hang is noticed.
# shellcheck shell=bash
keep_queue() {
  local n restarts
  cloud down
  for n in 1 2 3 4 5; do check "$suite: without a link message $n is acknowledged" publish "$n"; done
  restarts=$(property NRestarts)
  in_box systemctl kill --signal=KILL holdfast.service
  check "$suite: after kill -9 it serves again" within 15 restarted "$restarts"
  check "$suite: and the five wait" within 10 queued_is 5

  check "$suite: a backup is taken while it runs" in_box /usr/lib/holdfast/backup /root/backup.tar.gz
  check "$suite: and it serves on" publish six
  in_box systemctl stop holdfast.service
  shell 'rm -r /var/lib/holdfast && tar -xzpf /root/backup.tar.gz -C / && echo 1000 >/var/lib/holdfast/boot'
  shell 'chown -R holdfast: /var/lib/holdfast && rm /root/backup.tar.gz'
  check "$suite: the backup is restored" in_box systemctl start holdfast.service
  check "$suite: with the five of its time" within 10 queued_is 5

  # as when the event loop hangs: it is there, and does nothing
  in_box mkdir -p /run/systemd/system/holdfast.service.d
  printf '[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n' >"$box/root/hang.conf"
  in_box cp /root/hang.conf /run/systemd/system/holdfast.service.d/
  in_box systemctl daemon-reload
  in_box systemctl restart holdfast.service
  restarts=$(property NRestarts)
  in_box systemctl kill --signal=STOP holdfast.service
  check "$suite: a hang is noticed, and ended with a restart" within 20 restarted "$restarts"
  has "$suite: by the watchdog" 'Watchdog timeout' "$(journal)"
  check "$suite: and the five wait" within 10 queued_is 5
  in_box rm -r /run/systemd/system/holdfast.service.d
  in_box systemctl daemon-reload
  in_box systemctl restart holdfast.service

  check "$suite: it stops" in_box systemctl stop holdfast.service
  same "$suite: in order" success "$(property Result)"
  has "$suite: with everything closed" 'holdfast has stopped' "$(journal --lines 6)"
  other_format 3
  in_box systemctl start holdfast.service >/dev/null 2>&1 || true
  has "$suite: a store of a later version is refused in clear words" 'is in format 3, and this version of holdfast knows format 2' "$(journal --lines 20)"
  same "$suite: and not tried again and again" 'failed 78' "$(sleep 3 && property ActiveState) $(property ExecMainStatus)"
  in_box systemctl stop holdfast.service
  other_format 2
  check "$suite: and opened as before by that version" in_box systemctl start holdfast.service
  printf 'coap = 5\n' >"$box/etc/holdfast/conf.d/99-wrong.toml"
  in_box systemctl restart holdfast.service >/dev/null 2>&1 || true
  same "$suite: a configuration that cannot be used is not tried again and again" 'failed 78' \
    "$(sleep 3 && property ActiveState) $(property ExecMainStatus)"
  rm "$box/etc/holdfast/conf.d/99-wrong.toml"
  check "$suite: and mended, it starts" in_box systemctl restart holdfast.service
}

# other_format N: what a version with that format would have noted in the store.
other_format() {
  node --input-type=module - "$source_root" "$box/var/lib/holdfast/log" "$1" <<'JS'
import { createRequire } from 'node:module';
const [, , root, directory, format] = process.argv;
const { ClassicLevel } = createRequire(`${root}/package.json`)('classic-level');
const db = new ClassicLevel(directory);
for (const key of ['mformat', 'mformat2']) await db.put(key, format, { sync: true });
await db.close();
JS
  chown -R --reference="$box/var/lib/holdfast" "$box/var/lib/holdfast"
}
