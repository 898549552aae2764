import { createSocket } from 'node:dgram';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import { Daemon, eventually } from './support/daemon.ts';
import { coapClient, scratch } from './support/peers.ts';
import { run } from './support/process.ts';

/** The daemon with a CoAP socket that a service manager holds, here a small one in Python. */
const holder = join(import.meta.dirname, 'support/socket-holder.py');
let ending: (() => Promise<void>) | undefined;

afterEach(async () => {
  await ending?.();
});

async function held(address: string, configured = address): Promise<{ daemon: Daemon; port: number }> {
  const port = await freePort();
  const host = configured.includes(':') ? `[${configured}]` : configured;
  const place = scratch();
  const daemon = new Daemon(place.path, `[coap]\nlisten = ["coap://${host}:${port}"]\n`);
  ending = async () => {
    await daemon.kill('SIGTERM');
    place.remove();
  };
  await daemon.startUnder('python3', [holder, address, `${port}`]);
  return { daemon, port };
}

/** The process of the daemon that runs now. */
const pidOf = (daemon: Daemon) => Number([...daemon.output.matchAll(/^run (\d+)$/gm)].at(-1)?.[1]);
const runs = (daemon: Daemon) => [...daemon.output.matchAll(/holdfast is ready/g)].length;

/** Datagrams that the kernel keeps for a socket that nobody reads; by default there is room for 277. */
const roomInSocket = 150;

/**
 * Twenty devices that publish in turn, one message each 5 ms and each once; keeps the message ids that were acknowledged.
 * (A single device that sends so much meanwhile is asked to come again later, RFC 7252 §4.7.)
 */
class Sender {
  readonly acknowledged = new Set<number>();
  readonly #sockets = Array.from({ length: 20 }, () => createSocket('udp4'));
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
    for (const socket of this.#sockets) {
      socket.on('message', (data) => {
        if (data[1] === 0x44) this.acknowledged.add(data.readUInt16BE(2));
      });
    }
  }

  send(mid: number): void {
    const datagram = [0x40, 0x02, mid >> 8, mid & 0xff, 0xb2, 0x70, 0x73, 0x01, 0x61, 0xff, 0x31];
    this.#sockets[mid % this.#sockets.length]?.send(Buffer.from(datagram), this.#port, '127.0.0.1');
  }

  async run(count: number, at: (mid: number) => void): Promise<void> {
    for (let mid = 1; mid <= count; mid++) {
      this.send(mid);
      at(mid);
      do await new Promise<void>((resolve) => setTimeout(resolve, 5));
      while (mid - this.acknowledged.size >= roomInSocket);
    }
  }

  close(): void {
    for (const socket of this.#sockets) socket.close();
  }
}

describe('a daemon whose CoAP socket is held', () => {
  it('answers there, and does not hand the variables on', async () => {
    const { daemon, port } = await held('127.0.0.1');
    const { output } = await run(coapClient, ['-m', 'post', '-e', '1', '-v', '7', `coap://127.0.0.1:${port}/ps/a`]);
    expect(output).toContain('2.04');
    expect(daemon.output).toContain('the service manager holds the CoAP port');
    expect(await daemon.port('coap')).toBe(port);
  });

  it('answers at an address of the other family, and says that it is not the configured one', async () => {
    const { daemon, port } = await held('::1', '127.0.0.1');
    const { output } = await run(coapClient, ['-m', 'post', '-e', '1', '-v', '7', `coap://[::1]:${port}/ps/a`]);
    expect(output).toContain('2.04');
    expect(daemon.output).toContain('another address than coap.listen');
    expect((await daemon.status()).listeners).toContain(`coap://[::1]:${port}`);
  });

  it('loses nothing that is sent once while it stops and starts', { timeout: 30_000 }, async () => {
    const { daemon, port } = await held('127.0.0.1');
    const sender = new Sender(port);
    await sender.run(400, (mid) => {
      if (mid === 100) process.kill(pidOf(daemon), 'SIGTERM');
    });
    await eventually(() => runs(daemon) === 2 && sender.acknowledged.size === 400, 'all are acknowledged');
    sender.close();
  });

  it('loses to kill -9 only what it had read, and nothing that is sent again', { timeout: 30_000 }, async () => {
    const { daemon, port } = await held('127.0.0.1');
    const sender = new Sender(port);
    await sender.run(400, (mid) => {
      if (mid === 100) process.kill(pidOf(daemon), 'SIGKILL');
    });
    await eventually(() => runs(daemon) === 2 && sender.acknowledged.size > 380, 'most are acknowledged');
    for (let mid = 1; mid <= 400; mid++) if (!sender.acknowledged.has(mid)) sender.send(mid);
    await eventually(() => sender.acknowledged.size === 400, 'all are acknowledged');
    sender.close();
  });
});
