import { readFileSync, readlinkSync } from 'node:fs';
import { type SocketAddress, socketAddress } from './socket-table.ts';

/** A socket that the service manager opened and holds: it outlives this process. */
export interface InheritedSocket {
  readonly fd: number;
  /** FileDescriptorName= of the socket unit; empty where the manager gave none. */
  readonly name: string;
  /** Where it is bound; undefined for what is no UDP socket. */
  readonly udp: SocketAddress | undefined;
}

/** The first descriptor that is passed (sd_listen_fds(3)). */
const firstFd = 3;

/**
 * The sockets that the service manager passed to this process, each once: the variables that announce them are deleted
 * from `env`, since they are not meant for the programs that this one runs.
 */
export function takeSockets(
  env: Record<string, string | undefined>,
  pid: number = process.pid,
  addressOf: (fd: number) => SocketAddress | undefined = udpAddressOf,
): readonly InheritedSocket[] {
  const announced = announcedSockets(env, pid);
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  return announced.map(({ fd, name }) => ({ fd, name, udp: addressOf(fd) }));
}

/** What LISTEN_FDS and LISTEN_FDNAMES say; nothing where LISTEN_PID means another process, a parent of this one. */
export function announcedSockets(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
): readonly { readonly fd: number; readonly name: string }[] {
  if (env.LISTEN_PID !== `${pid}` || !/^\d{1,3}$/.test(env.LISTEN_FDS ?? '')) return [];
  const names = (env.LISTEN_FDNAMES ?? '').split(':');
  return Array.from({ length: Number(env.LISTEN_FDS) }, (_, at) => ({ fd: firstFd + at, name: names[at] ?? '' }));
}

/** Node can tell neither the address nor the family of a descriptor before it has taken it; the kernel's tables can. */
function udpAddressOf(fd: number): SocketAddress | undefined {
  try {
    const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
    if (inode === undefined) return undefined;
    return (
      socketAddress(readFileSync('/proc/self/net/udp', 'latin1'), inode) ??
      socketAddress(readFileSync('/proc/self/net/udp6', 'latin1'), inode)
    );
  } catch {
    // no such descriptor, or a kernel without IPv6
    return undefined;
  }
}
