import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { UdpTransport } from '../../src/coap/index.ts';

/** Bytes that the kernel keeps for the UDP socket at that port. */
function unreadAt(port: number): number {
  const place = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = readFileSync('/proc/net/udp', 'utf8').split('\n').slice(1);
  const fields = lines.map((line) => line.trim().split(/\s+/)).find(([, local]) => local?.endsWith(place) === true);
  return Number.parseInt(fields?.[4]?.split(':')[1] ?? '0', 16);
}

it('a transport that is paused leaves what comes in the socket, and still sends', async () => {
  const transport = new UdpTransport({ address: '127.0.0.1', port: 0 });
  const received: string[] = [];
  let heard: () => void = () => undefined;
  await transport.start({
    received: (datagram) => {
      received.push(datagram.toString());
      heard();
    },
    failed: () => undefined,
  });
  const peer = createSocket('udp4');
  const told = (text: string) =>
    new Promise<void>((resolve) => peer.send(text, transport.port, '127.0.0.1', () => resolve()));
  const first = new Promise<void>((resolve) => {
    heard = resolve;
  });
  await told('one');
  await first;
  transport.pause();
  await told('two');
  const answer = once(peer, 'message');
  transport.send(Buffer.from('answer'), '127.0.0.1', peer.address().port);
  expect(String((await answer)[0])).toBe('answer');
  expect(received).toEqual(['one']);
  expect(unreadAt(transport.port)).toBeGreaterThan(0);
  await transport.stop();
  peer.close();
});
