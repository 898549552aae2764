import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Agent, type IncomingMessage, type ObserveReadStream, request } from 'coap';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/index.ts';
import {
  type CoapRequest,
  CoapServer,
  codes,
  type Observation,
  type UdpTransport,
  udpTransports,
} from '../../src/coap/index.ts';
import { Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { request as datagramOf } from './support/wire.ts';

const run = promisify(execFile);

const large = Array.from({ length: 3_000 }, (_, at) => `line ${at}\n`).join('');

let server: CoapServer;
let transports: UdpTransport[];
let observation: Observation | undefined;
let uploads: CoapRequest[];
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holdfast-coap-'));
  uploads = [];
  observation = undefined;
  transports = [
    ...udpTransports([{ address: '127.0.0.1', port: 0 }]),
    ...udpTransports([{ address: '::1', port: 0 }]),
    ...udpTransports([{ address: '::', port: 0 }]),
  ];
  server = new CoapServer({
    transports,
    clock: systemClock,
    logger: silentLogger,
    metrics: new Metrics(),
    handler: {
      handle: (incoming, respond) => {
        if (incoming.observe === 0) {
          observation = server.observe(incoming, { confirmable: true, onEnd: () => undefined });
          respond({ code: codes.content, payload: 'registered' });
        } else if (incoming.path[0] === 'large') respond({ code: codes.content, payload: large });
        else if (incoming.path[0] === 'address') respond({ code: codes.content, payload: incoming.endpoint.address });
        else if (incoming.path[0] === 'echo') {
          uploads.push(incoming);
          respond({ code: codes.content, payload: incoming.payload });
        } else {
          uploads.push(incoming);
          respond({ code: codes.changed });
        }
      },
    },
  });
  await server.start();
});

afterEach(async () => {
  await server.stop();
  await rm(directory, { recursive: true });
});

function portOf(at: number): number {
  const transport = transports[at];
  if (transport === undefined) throw new Error('no such transport');
  return transport.port;
}

interface Asked {
  readonly hostname: string;
  readonly port: number;
  readonly pathname: string;
  readonly method?: 'GET' | 'POST';
  readonly observe?: boolean;
  readonly payload?: string;
}

async function ask(agent: Agent, asked: Asked): Promise<IncomingMessage> {
  const { payload, ...parameters } = asked;
  const outgoing = request({ ...parameters, agent });
  outgoing.end(payload === undefined ? undefined : Buffer.from(payload));
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  return response;
}

describe('the coap package as client', () => {
  it.each([
    ['IPv4', 'udp4', '127.0.0.1', 0],
    ['IPv6', 'udp6', '::1', 1],
  ] as const)('posts, gets a large answer and observes over %s', async (_name, type, hostname, at) => {
    const agent = new Agent({ type });
    const port = portOf(at);
    try {
      const posted = await ask(agent, { hostname, port, pathname: '/ps/a', method: 'POST', payload: 'hello' });
      expect(posted.code).toBe('2.04');
      expect(uploads[0]?.payload.toString()).toBe('hello');
      expect(uploads[0]?.endpoint.address).toBe(hostname);
      const got = await ask(agent, { hostname, port, pathname: '/large' });
      expect(got.code).toBe('2.05');
      expect(got.payload.toString()).toBe(large);
      const stream = (await ask(agent, { hostname, port, pathname: '/ps/b', observe: true })) as ObserveReadStream;
      const payloads: string[] = [];
      const all = new Promise<void>((resolve) => {
        stream.on('data', (chunk: Buffer) => {
          payloads.push(chunk.toString());
          if (payloads.length === 6) resolve();
        });
      });
      for (let n = 0; n < 5; n++) observation?.notify(Buffer.from(`m${n}`));
      await all;
      expect(payloads).toEqual(['registered', 'm0', 'm1', 'm2', 'm3', 'm4']);
    } finally {
      agent.close();
    }
  });

  it('is seen by its IPv4 address on a socket for both families', async () => {
    const agent = new Agent({ type: 'udp4' });
    try {
      const got = await ask(agent, { hostname: '127.0.0.1', port: portOf(2), pathname: '/address' });
      expect(got.payload.toString()).toBe('127.0.0.1');
    } finally {
      agent.close();
    }
  });
});

describe('libcoap’s client', () => {
  const client = (...args: string[]) => run('coap-client-notls', ['-B', '20', ...args], { timeout: 25_000 });

  it('uploads in blocks of 64 bytes', async () => {
    const file = join(directory, 'upload');
    await writeFile(file, large.slice(0, 10_000));
    await client('-b', '64', '-m', 'post', '-f', file, `coap://127.0.0.1:${portOf(0)}/ps/a?c=1`);
    expect(uploads).toHaveLength(1);
    expect(uploads[0]?.payload.toString()).toBe(large.slice(0, 10_000));
    expect(uploads[0]?.query).toEqual(['c=1']);
  });

  it.each(['16', '64', '1024'])('downloads a large answer in blocks of %s', async (size) => {
    const file = join(directory, 'download');
    await client('-b', size, '-o', file, `coap://[::1]:${portOf(1)}/large`);
    expect(await readFile(file, 'utf8')).toBe(large);
  });

  it('uploads and downloads in one exchange', async () => {
    const file = join(directory, 'upload');
    const answer = join(directory, 'answer');
    await writeFile(file, large.slice(0, 3_000));
    const url = `coap://127.0.0.1:${portOf(0)}/echo`;
    await client('-b', '128', '-m', 'post', '-f', file, '-o', answer, url);
    expect(await readFile(answer, 'utf8')).toBe(large.slice(0, 3_000));
    expect(uploads).toHaveLength(1);
  });

  it('observes, and fetches large notifications', async () => {
    const file = join(directory, 'observed');
    const finished = client('-s', '2', '-o', file, `coap://127.0.0.1:${portOf(0)}/ps/big`);
    while (observation === undefined) await new Promise((resolve) => setImmediate(resolve));
    const acknowledged = new Promise((resolve) => {
      observation?.notify(Buffer.from('small\n'));
      observation?.notify(Buffer.from(large.slice(0, 5_000)), { onSettled: resolve });
    });
    expect(await acknowledged).toBe('acknowledged');
    await finished;
    expect(await readFile(file, 'utf8')).toContain(large.slice(0, 5_000));
  });
});

describe('the UDP transport', () => {
  it('refuses an address in use, and says which', async () => {
    const [again] = udpTransports([{ address: '127.0.0.1', port: portOf(0) }]);
    await expect(again?.start({ received: () => undefined, failed: () => undefined })).rejects.toMatchObject({
      code: 'start_failed',
      message: expect.stringContaining(`coap://127.0.0.1:${portOf(0)}`),
    });
  });

  it('answers datagrams of a plain socket, runts and garbage between them', async () => {
    const socket = createSocket('udp4');
    try {
      for (const bytes of [Buffer.alloc(0), Buffer.from('40', 'hex'), Buffer.from('ffffffff', 'hex')]) {
        socket.send(bytes, portOf(0), '127.0.0.1');
      }
      socket.send(datagramOf({ mid: 0x1234 }), portOf(0), '127.0.0.1');
      const [answer] = (await once(socket, 'message')) as [Buffer];
      expect(answer.toString('hex')).toBe('6144123401');
    } finally {
      socket.close();
    }
  });
});
