/**
 * The service manager: what it is told, and the proof of life that it asks for.
 *
 * READY and STATUS go through the `systemd-notify` package; it has no STOPPING, RELOADING or WATCHDOG, so for those the
 * same program is run with the variable. A message is a process of its own: the unit needs `NotifyAccess=all`.
 * Where a launcher left a connected socket open (NOTIFY_FD), everything is written there instead, from this process.
 */
export { Notifier, type NotifyTransport } from './notifier.ts';
export { Watchdog } from './watchdog.ts';
