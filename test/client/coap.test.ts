import { afterEach, describe, expect, it } from 'vitest';
import type { HoldfastError } from '../../src/base/index.ts';
import { connectGateway, type GatewayClient, type GatewayTarget } from '../../src/client/index.ts';
import { type CoapRequest, CoapServer, codes, UdpTransport } from '../../src/coap/index.ts';
import { Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { type SiteOptions, startSite } from '../coap/support/site.ts';
import { settle } from '../log/support.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** The client against the gateway's own CoAP side, over loopback, on a clock that stands still. */

const running: { stop(): Promise<void> }[] = [];
const clients: { client: GatewayClient; clock: FakeClock }[] = [];

afterEach(async () => {
  for (const { client, clock } of clients.splice(0)) await during(clock, client.close());
  for (const one of running.splice(0).reverse()) await one.stop();
});

/** What a promise comes to, while what waits for input, output and timers due now goes on. */
async function during<T>(clock: FakeClock, promise: Promise<T>): Promise<T> {
  let over = false;
  const end = () => {
    over = true;
  };
  promise.then(end, end);
  while (!over) await settle(clock, 1);
  return promise;
}

async function client(clock: FakeClock, url: string, more: Partial<GatewayTarget> = {}) {
  const received: string[] = [];
  const lost: string[] = [];
  const target = { url, clientId: 'technician', heartbeat: 30_000, mqtt311: true, ...more };
  const events = {
    received: ({ topic, filter, payload }: { topic?: string; filter?: string; payload: Buffer }) => {
      received.push(`${topic ?? `(${filter})`} ${payload}`);
      return undefined;
    },
    missed: (reason: HoldfastError) => void received.push(reason.message),
    lost: (reason: HoldfastError) => void lost.push(reason.message),
  };
  const gateway = await during(clock, connectGateway(target, events, clock));
  clients.push({ client: gateway, clock });
  const until = async (holds: () => boolean) => {
    while (!holds()) await settle(clock, 1);
  };
  return {
    received,
    lost,
    until,
    publish: (topic: string, payload: string | Buffer) =>
      during(clock, gateway.publish({ topic, payload: Buffer.from(payload), qos: 1, retain: false })),
    subscribe: (...filters: string[]) => during(clock, gateway.subscribe(filters, 1)),
    close: () => during(clock, gateway.close()),
  };
}

async function site(given: SiteOptions = {}) {
  const transport = new UdpTransport({ address: '127.0.0.1', port: 0 });
  const made = await startSite(() => [transport], given);
  running.push(made);
  const { clock, registry } = made;
  return {
    ...made,
    connected: () => registry.count('coap'),
    client: (more: Partial<GatewayTarget> = {}) => client(clock, transport.url, more),
  };
}

/** Lets time pass in steps, with what goes over the wire between them. */
async function pass(clock: FakeClock, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    clock.advance(1_000);
    await settle(clock, 10);
  }
}

describe('in connection mode', () => {
  it('a client logs in, publishes and hears, stays, and is gone when it says so', async () => {
    const at = await site();
    const one = await at.client({ coapMode: 'connection' });
    expect(at.connected()).toBe(1);
    expect(await one.subscribe('a/#', 'b')).toEqual([]);
    await one.publish('a/b', 'by CoAP');
    await at.publish('b', 'of the site');
    await one.until(() => one.received.length === 2);
    expect(one.received).toEqual(['(a/#) by CoAP', 'b of the site']);
    await pass(at.clock, 100);
    expect(at.connected()).toBe(1);
    expect(one.lost).toEqual([]);
    await one.close();
    expect(at.connected()).toBe(0);
    expect(one.lost).toEqual([]);
  });

  it('a login that is wrong is refused', async () => {
    const at = await site({ anonymous: false, passwords: { ann: 'right' } });
    const login = { coapMode: 'connection', username: 'ann' } as const;
    await expect(at.client({ ...login, password: 'wrong' })).rejects.toMatchObject({
      code: 'access_denied',
      message: expect.stringMatching(/coap:.*the login was refused: 4\.01 Login Failed: not_authorized$/),
    });
    await (await at.client({ ...login, password: 'right' })).publish('a', 'x');
  });

  it('one whom the gateway has forgotten is told at the next heartbeat, once', async () => {
    const at = await site();
    const one = await at.client({ coapMode: 'connection' });
    const connection = at.registry.find('technician@app');
    if (connection === undefined) throw new Error('not connected');
    at.registry.close(connection, 'normal');
    await pass(at.clock, 16);
    expect(one.lost).toEqual([
      expect.stringMatching(/forgotten this client: 4\.01 Invalid token or clientid in connection mode$/),
    ]);
    await expect(one.publish('a', 'x')).rejects.toThrow('closed');
  });

  it('a gateway that is gone is told at the next heartbeat', async () => {
    const at = await site();
    const one = await at.client({ coapMode: 'connection' });
    await at.stop();
    await pass(at.clock, 16);
    expect(one.lost).toEqual([expect.stringContaining('nobody listens there')]);
  });
});

describe('in connectionless mode', () => {
  it('a publish proves itself, and leaves nothing behind', async () => {
    const at = await site({ mode: 'connectionless', anonymous: false, passwords: { ann: 'right' } });
    const one = await at.client({ coapMode: 'connectionless', username: 'ann', password: 'right' });
    await one.publish('a/b', 'x');
    expect(at.connected()).toBe(0);
    const nobody = await at.client({ coapMode: 'connectionless' });
    await expect(nobody.publish('a/b', 'x')).rejects.toThrow('4.01 Login Failed');
  });

  it('a subscription has a connection', async () => {
    const at = await site({ mode: 'connectionless' });
    const one = await at.client({ coapMode: 'connectionless' });
    await one.subscribe('a');
    expect(at.connected()).toBe(1);
    await one.publish('a', 'x');
    await one.until(() => one.received.length === 1);
    expect(one.received).toEqual(['a x']);
    await one.close();
    expect(at.connected()).toBe(0);
  });
});

describe('a refusal', () => {
  it('by the access rules says so, of a message and of a filter', async () => {
    const rules = [{ effect: 'deny', action: 'all', user: '*', client: '*', topic: 'no/#' }] as const;
    const at = await site({
      rules: [...rules, { effect: 'allow', action: 'all', user: '*', client: '*', topic: '#' }],
    });
    const one = await at.client();
    await expect(one.publish('no/way', 'x')).rejects.toMatchObject({
      code: 'access_denied',
      message: 'the message to no/way was refused: 4.01 not authorized by the access rules',
    });
    expect(await one.subscribe('no/#', 'yes')).toEqual([
      { filter: 'no/#', reason: 'refused: 4.01 not authorized by the access rules' },
    ]);
  });

  it('of a payload that is too large says so', async () => {
    const one = await (await site()).client();
    await expect(one.publish('a', Buffer.alloc(1_001))).rejects.toMatchObject({ code: 'payload_too_large' });
  });

  it('of what CoAP has no room for is not sent', async () => {
    const one = await (await site()).client();
    await expect(one.publish('x'.repeat(256), 'x')).rejects.toMatchObject({ code: 'bad_request' });
  });
});

describe('a gateway without mqtt/connection', () => {
  async function other(observe: boolean) {
    const asked: CoapRequest[] = [];
    const transport = new UdpTransport({ address: '127.0.0.1', port: 0 });
    const clock = new FakeClock();
    const server: CoapServer = new CoapServer({
      transports: [transport],
      clock,
      logger: silentLogger,
      metrics: new Metrics(),
      handler: {
        handle: (request, respond) => {
          asked.push(request);
          if (request.path[0] !== 'ps') return respond({ code: codes.notFound });
          if (observe && request.observe === 0) {
            const observation = server.observe(request, { confirmable: true, onEnd: () => undefined });
            respond({ code: codes.content });
            observation?.notify(Buffer.from('told'));
            observation?.end({ code: codes.notFound, payload: 'no more\u001b' });
          } else respond({ code: request.method === 2 ? codes.changed : codes.content });
        },
      },
    });
    await server.start();
    running.push(server);
    return { asked, one: await client(clock, transport.url, { username: 'ann', password: 'right' }) };
  }

  it('gets client id and login with each request, and the end of each subscription', async () => {
    const { asked, one } = await other(true);
    await one.publish('a//b', 'x');
    expect(asked.at(-1)).toMatchObject({
      path: ['ps', 'a', '', 'b'],
      query: ['clientid=technician', 'username=ann', 'password=right', 'qos=1'],
    });
    await one.subscribe('a');
    await one.until(() => one.lost.length > 0);
    expect(one.received).toEqual(['a told']);
    expect(one.lost).toEqual([expect.stringMatching(/the gateway ended the subscription to a: 4\.04 no more\?$/)]);
  });

  it('that cannot be observed is an error', async () => {
    const { one } = await other(false);
    await expect(one.subscribe('a')).rejects.toThrow('does not offer to be observed');
  });
});
