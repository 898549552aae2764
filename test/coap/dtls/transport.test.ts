import { afterEach, describe, expect, it } from 'vitest';
import {
  CoapServer,
  codeText,
  type DtlsOptions,
  DtlsTransport,
  decode,
  type TransportListener,
} from '../../../src/coap/index.ts';
import type { AclRule } from '../../../src/connections/index.ts';
import { type Logger, Metrics, silentLogger } from '../../../src/telemetry/index.ts';
import { settle } from '../../log/support.ts';
import { type SiteOptions, startSite } from '../support/site.ts';
import { type Ask, request } from '../support/wire.ts';
import { Client, type ClientOptions } from './support/client.ts';
import { key } from './support/world.ts';

const running: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  for (const service of running.splice(0).reverse()) await service.stop();
});

/** Carries records in memory. */
class MemoryCarrier {
  readonly url = 'coap://memory:5684';
  readonly sent: { datagram: Buffer; port: number }[] = [];
  listener: TransportListener | undefined;
  async start(listener: TransportListener) {
    this.listener = listener;
  }
  async stop() {
    this.listener = undefined;
  }
  send(datagram: Uint8Array, _address: string, port: number) {
    this.sent.push({ datagram: Buffer.from(datagram), port });
  }
}

interface Answer {
  readonly type: number;
  readonly code: string;
  readonly payload: string;
  readonly observe: boolean;
  readonly mid: number;
  readonly port: number;
}

const rules: readonly AclRule[] = [
  { effect: 'allow', action: 'all', user: '*', client: '*', topic: 'of/%u/#' },
  { effect: 'allow', action: 'all', user: '*', client: '*', topic: 'all' },
];

async function setUp(
  mode: 'connection' | 'connectionless' = 'connection',
  {
    logger = silentLogger,
    options = {},
    again = {},
  }: { logger?: Logger; options?: Partial<DtlsOptions>; again?: Pick<SiteOptions, 'clock' | 'disks'> } = {},
) {
  const keys = new Map([
    ['dev', Buffer.from(key)],
    ['other', Buffer.alloc(16, 9)],
  ]);
  const carrier = new MemoryCarrier();
  let transport: DtlsTransport | undefined;
  const site = await startSite(
    (base) => {
      transport = new DtlsTransport({ ...base, carrier, psk: { keyOf: (name) => keys.get(name) }, options });
      return [transport];
    },
    { mode, logger, anonymous: false, passwords: { dev: 'password' }, rules, ...again },
  );
  running.push(site);
  const { clock } = site;
  const arrive = (datagrams: readonly Buffer[], port: number) => {
    for (const datagram of datagrams) carrier.listener?.received(datagram, '192.0.2.1', port);
  };
  const connect = (clientOptions: ClientOptions = {}, port = 1_000) => {
    const client = new Client(clientOptions);
    for (let flight = client.start(); flight.length > 0; ) {
      arrive(flight, port);
      flight = carrier.sent.splice(0).flatMap(({ datagram }) => client.receive(datagram));
    }
    return client;
  };
  /** What the client was sent since the last look. */
  const heard = (client: Client): Answer[] =>
    carrier.sent.splice(0).flatMap(({ datagram, port }) => {
      client.data.length = 0;
      client.receive(datagram);
      return client.raw.splice(0).map((bytes) => {
        const read = decode(bytes);
        if (read.problem !== undefined) throw new Error('no CoAP');
        return {
          type: read.type,
          code: codeText(read.code),
          payload: read.payload.toString(),
          observe: [...read.options].some((value, at) => at % 3 === 0 && value === 6),
          mid: read.messageId,
          port,
        };
      });
    });
  let mid = 100;
  const ask = async (client: Client, given: Ask, port = 1_000): Promise<string> => {
    const id = mid++;
    arrive([client.seal(23, request({ ...given, mid: id }))], port);
    await settle(clock);
    const answer = heard(client).find((one) => one.mid === id);
    return answer === undefined ? 'nothing' : `${answer.code} ${answer.payload}`.trim();
  };
  return { ...site, transport: transport as DtlsTransport, carrier, arrive, connect, heard, ask };
}

const login = (...query: string[]): Ask => ({ code: 2, path: 'mqtt/connection', query });

describe('a device that has proved who it is', () => {
  it('logs in without a password, as that user; the network is coaps', async () => {
    const { connect, ask, registry } = await setUp();
    const client = connect();
    expect(await ask(client, login('clientid=a'))).toMatch(/^2\.01 [\w-]{22}$/);
    expect(registry.find('a@app')).toMatchObject({ username: 'dev', network: 'coaps', address: '192.0.2.1:1000' });
    expect(await ask(client, login('clientid=b', 'username=dev', 'password=wrong'))).toMatch(/^2\.01/);
  });

  it('speaks for nobody else, whatever it knows', async () => {
    const { connect, ask, registry } = await setUp();
    const client = connect({ identity: 'other', key: Buffer.alloc(16, 9) });
    expect(await ask(client, login('clientid=a', 'username=dev', 'password=password'))).toBe(
      '4.01 Login Failed: not_authorized',
    );
    expect(registry.find('a@app')).toBeUndefined();
    const dev = connect({}, 2);
    const token = (await ask(dev, login('clientid=a'), 2)).slice(5);
    const stolen: Ask = { code: 2, path: 'ps/of/other/x', query: ['clientid=a', `token=${token}`], payload: 'x' };
    expect(await ask(client, stolen)).toBe('4.01 Invalid token or clientid in connection mode');
    expect(await ask(dev, { ...stolen, path: 'ps/of/dev/x' }, 2)).toBe('2.04');
  });

  it('is held to the access rules of its name, without a connection too', async () => {
    const { connect, ask } = await setUp('connectionless');
    const client = connect();
    expect(await ask(client, { code: 2, path: 'ps/of/dev/x', payload: 'x' })).toBe('2.04');
    expect(await ask(client, { code: 2, path: 'ps/of/other/x', payload: 'x' })).toMatch(/^4\.01/);
    expect(await ask(client, { code: 2, path: 'ps/of/dev/x', query: ['u=other'], payload: 'x' })).toMatch(/^4\.01/);
    expect(await ask(client, { code: 1, path: 'ps/of/other/x', observe: 0 })).toMatch(/^4\.01/);
  });
});

describe('a device over DTLS, where the gateway was killed,', () => {
  it('gets what it is owed in its new session, once it has shown its token there', async () => {
    const old = await setUp();
    const before = old.connect();
    const who = ['clientid=a', `token=${(await old.ask(before, login('clientid=a'))).slice(5)}`];
    expect(await old.ask(before, { code: 1, path: 'ps/all', observe: 0, token: 'a1', query: who })).toBe('2.05');
    await old.publish('all', 'owed');
    const { clock, disks } = old;
    running.splice(0);
    clock.advance(5_000);
    const left = { ...disks, log: disks.log.afterPowerCut(0), sessions: disks.sessions.afterPowerCut(0) };
    const site = await setUp('connection', { again: { clock, disks: left } });
    expect(site.registry.find('a@app')).toMatchObject({ username: 'dev', network: 'coaps' });
    const stranger = site.connect({ identity: 'other', key: Buffer.alloc(16, 9) }, 2_000);
    expect(await site.ask(stranger, { code: 3, path: 'mqtt/connection', query: who }, 2_000)).toMatch(/^4\.01/);
    const after = site.connect({}, 3_000);
    site.arrive([after.seal(23, request({ code: 3, path: 'mqtt/connection', query: who, mid: 7 }))], 3_000);
    await settle(clock);
    const heard = site.heard(after);
    expect(heard.map(({ code, payload, observe }) => `${code} ${payload} ${observe}`)).toEqual([
      '2.05 owed true',
      '2.01  false',
    ]);
    await site.publish('all', 'next');
    expect(site.heard(after)).toEqual([]);
  });
});

describe('the message layer over DTLS', () => {
  const subscribe: Ask = { code: 1, path: 'ps/all', observe: 0, query: ['qos=0'], token: '0a' };

  it('sends notifications to where a session with a connection id is now', async () => {
    const { connect, ask, heard, publish } = await setUp('connectionless');
    const client = connect({ cid: Buffer.from('c') });
    expect(await ask(client, subscribe)).toMatch(/^2\.05/);
    await publish('all', 'one');
    expect(heard(client)).toMatchObject([{ payload: 'one', port: 1_000 }]);
    // any authentic record from the new address, here a request
    expect(await ask(client, { code: 1, path: '.well-known/core' }, 2_000)).toMatch(/^2\.05/);
    await publish('all', 'two');
    expect(heard(client)).toMatchObject([{ payload: 'two', port: 2_000, observe: true }]);
  });

  it('knows a retransmission from the new address for one, and an acknowledgement too', async () => {
    const { connect, arrive, heard, clock, base, ask, publish } = await setUp('connectionless');
    const client = connect({ cid: Buffer.from('c') });
    const post = request({ code: 2, path: 'ps/of/dev/x', mid: 7, payload: 'x' });
    arrive([client.seal(23, post)], 1_000);
    await settle(clock);
    expect(heard(client)).toMatchObject([{ code: '2.04', mid: 7 }]);
    arrive([client.seal(23, post)], 2_000);
    expect(heard(client)).toMatchObject([{ code: '2.04', mid: 7, port: 2_000 }]);
    expect(base.metrics.value('holdfast_coap_duplicates_total')).toBe(1);
    await ask(client, { ...subscribe, query: ['qos=1'] }, 2_000);
    await publish('all', 'confirm');
    const [notification] = heard(client);
    arrive(
      [client.seal(23, Buffer.from([0x60, 0, (notification?.mid ?? 0) >> 8, (notification?.mid ?? 0) & 255]))],
      3_000,
    );
    clock.advance(60_000);
    expect(heard(client)).toEqual([]);
  });

  it('ends what is observed with the session: nothing waits for a peer that is gone', async () => {
    const { connect, ask, publish, server, transport } = await setUp('connectionless');
    const client = connect();
    await ask(client, { ...subscribe, query: ['qos=1'] });
    await publish('all', 'one');
    await publish('all', 'two');
    expect(server.diagnostics()).toMatchObject({ observations: 1, inFlight: 1, queued: 1 });
    transport.revoke(new Set(['dev']));
    expect(server.diagnostics()).toMatchObject({ observations: 0, inFlight: 0, queued: 0, queuedBytes: 0 });
    expect(await ask(client, subscribe)).toBe('nothing');
  });

  it('gives up an answer that was to be sent separately when the session ends', async () => {
    const { base, clock, carrier: other } = await setUp();
    expect(other.sent).toEqual([]);
    const carrier = new MemoryCarrier();
    const transport = new DtlsTransport({ ...base, metrics: new Metrics(), carrier, psk: { keyOf: () => key } });
    const waiting: (() => void)[] = [];
    const handler = {
      handle: (_request: unknown, respond: (response: { code: number }) => void) =>
        void waiting.push(() => respond({ code: 69 })),
    };
    const server = new CoapServer({ ...base, metrics: new Metrics(), transports: [transport], handler });
    await server.start();
    running.push(server);
    const client = new Client();
    for (let flight = client.start(); flight.length > 0; ) {
      for (const one of flight) carrier.listener?.received(one, '192.0.2.1', 1);
      flight = carrier.sent.splice(0).flatMap(({ datagram }) => client.receive(datagram));
    }
    carrier.listener?.received(client.seal(23, request({ code: 1 })), '192.0.2.1', 1);
    clock.advance(1_000);
    for (const answer of waiting) answer();
    expect(server.diagnostics().inFlight).toBe(1);
    carrier.listener?.received(client.seal(21, Buffer.from([1, 0])), '192.0.2.1', 1);
    expect(server.diagnostics()).toMatchObject({ inFlight: 0, queued: 0 });
  });

  it('takes two sessions at one address for two endpoints, one after the other', async () => {
    const { connect, ask, server, publish, heard } = await setUp('connectionless');
    const first = connect();
    await ask(first, subscribe);
    const second = connect();
    expect(server.diagnostics().observations).toBe(0);
    await publish('all', 'nobody listens');
    expect(heard(second)).toEqual([]);
    // the same message id and bytes as the first one's: not a repetition, it is another session
    expect(await ask(second, subscribe)).toMatch(/^2\.05/);
  });

  it('leaves no timer behind, and logs no secret', async () => {
    const lines: unknown[] = [];
    const note = (...args: unknown[]) => void lines.push(args);
    const logger: Logger = { debug: note, info: note, warn: note, error: note, child: () => logger };
    const { connect, clock, server, ask, log, carrier } = await setUp('connection', { logger });
    const client = connect();
    await ask(client, login('clientid=a'));
    connect({ key: Buffer.alloc(16, 1) }, 2);
    connect({ identity: 'nobody' }, 3);
    carrier.listener?.received(new Client().start()[0] ?? Buffer.alloc(0), '192.0.2.1', 0);
    clock.advance(120_000);
    expect(clock.armed.filter((name) => name.startsWith('dtls'))).toEqual(['dtls sweep']);
    await server.stop();
    expect(clock.armed.filter((name) => name.startsWith('dtls'))).toEqual([]);
    const text = JSON.stringify(lines);
    for (const secret of [key, client.master, client.sessionId]) {
      for (const form of ['hex', 'base64', 'base64url', 'latin1'] as const) {
        expect(text).not.toContain(secret.toString(form));
      }
    }
    expect(log).toBeDefined();
  });
});
