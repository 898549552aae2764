/**
 * The service manager: what it is told, and the proof of life that it asks for.
 *
 * READY and STATUS go through the `systemd-notify` package; it has no STOPPING, RELOADING or WATCHDOG, so for those the
 * same program is run with the variable. A message is a process of its own: the unit needs `NotifyAccess=all`.
 * Where a launcher left a connected socket open (NOTIFY_FD), everything is written there instead, from this process.
 *
 * Sockets that it holds for the daemon (sd_listen_fds(3)) are taken here and listened at elsewhere. What arrives while the
 * daemon is away waits in them.
 */
export { Notifier, type NotifyTransport } from './notifier.ts';
export type { SocketAddress } from './socket-table.ts';
export { type InheritedSocket, takeSockets } from './sockets.ts';
export { Watchdog } from './watchdog.ts';
