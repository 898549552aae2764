import { describe, expect, it } from 'vitest';
import { socketAddress } from '../../src/systemd/socket-table.ts';
import { announcedSockets, takeSockets } from '../../src/systemd/sockets.ts';

describe('the sockets that a service manager passes', () => {
  it('are the descriptors from 3 on, with their names', () => {
    const env = { LISTEN_PID: '7', LISTEN_FDS: '3', LISTEN_FDNAMES: 'coap:mqtt' };
    expect(announcedSockets(env, 7)).toEqual([
      { fd: 3, name: 'coap' },
      { fd: 4, name: 'mqtt' },
      { fd: 5, name: '' },
    ]);
  });

  it('are not those of another process, and not those of a number that is none', () => {
    for (const env of [
      {},
      { LISTEN_FDS: '1' },
      { LISTEN_PID: '8', LISTEN_FDS: '1' },
      { LISTEN_PID: '7' },
      { LISTEN_PID: '7', LISTEN_FDS: '0' },
      { LISTEN_PID: '7', LISTEN_FDS: '-1' },
      { LISTEN_PID: '7', LISTEN_FDS: '1e2' },
      { LISTEN_PID: '7', LISTEN_FDS: '99999' },
    ]) {
      expect(announcedSockets(env, 7)).toEqual([]);
    }
  });

  it('are taken once: the variables are not for the programs that the daemon runs', () => {
    const env: Record<string, string | undefined> = {
      LISTEN_PID: '7',
      LISTEN_FDS: '1',
      LISTEN_FDNAMES: 'coap',
      PATH: '/bin',
    };
    const address = { address: '127.0.0.1', port: 5683 };
    expect(takeSockets(env, 7, (fd) => (fd === 3 ? address : undefined))).toEqual([
      { fd: 3, name: 'coap', udp: address },
    ]);
    expect(env).toEqual({ PATH: '/bin' });
    expect(takeSockets(env, 7)).toEqual([]);
  });

  it('are no UDP sockets where the descriptor is something else', () => {
    expect(takeSockets({ LISTEN_PID: '7', LISTEN_FDS: '1' }, 7, () => undefined)).toEqual([
      { fd: 3, name: '', udp: undefined },
    ]);
  });
});

describe("the kernel's table of sockets", () => {
  const head =
    '   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref\n';
  const line = (local: string, inode: number) =>
    ` 1234: ${local} 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 ${inode} 2 0000000000000000 0\n`;

  it('has IPv4 addresses', () => {
    const table = head + line('0100007F:1633', 41) + line('0501A8C0:0050', 42);
    expect(socketAddress(table, '41')).toEqual({ address: '127.0.0.1', port: 5683 });
    expect(socketAddress(table, '42')).toEqual({ address: '192.168.1.5', port: 80 });
    expect(socketAddress(table, '4')).toBeUndefined();
  });

  it('has IPv6 addresses, which come out as a URL has them', () => {
    const table =
      head + line('00000000000000000000000000000000:1633', 1) + line('B80D01200000000000000000010000FF:1633', 2);
    expect(socketAddress(table, '1')).toEqual({ address: '::', port: 5683 });
    expect(socketAddress(table, '2')).toEqual({ address: '2001:db8::ff00:1', port: 5683 });
  });
});
