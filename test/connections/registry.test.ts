import { beforeEach, describe, expect, it } from 'vitest';
import { type Arrival, type Connection, ConnectionRegistry, tokenMatches } from '../../src/connections/index.ts';
import type { GatewayEvent } from '../../src/domain/index.ts';
import { Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { FakeClock } from '../support/fake-clock.ts';

let clock: FakeClock;
let registry: ConnectionRegistry;
let ended: string[];
let recorded: GatewayEvent[];

beforeEach(async () => {
  clock = new FakeClock();
  ended = [];
  recorded = [];
  let connections = 0n;
  const journal = {
    newConnectionId: () => {
      connections += 1n;
      return connections;
    },
    record: (event: GatewayEvent) => recorded.push(event),
  };
  registry = new ConnectionRegistry({ clock, logger: silentLogger, metrics: new Metrics(), journal, maxClients: 3 });
  await registry.start();
});

const arrival = (clientId: string, changes: Partial<Arrival> = {}): Arrival => ({
  clientId,
  username: '',
  protocol: 'coap',
  address: '192.0.2.1:5683',
  network: 'coap',
  version: 1,
  keepalive: 30,
  clean: true,
  will: undefined,
  timeout: 45_000,
  onEnd: (reason) => ended.push(`${clientId} ${reason}`),
  ...changes,
});

describe('the registry of connections', () => {
  it('ends a client that shows no sign of life for its timeout, and not before', () => {
    const connection = registry.open(arrival('a@app'));
    clock.advance(44_000);
    registry.touch(connection);
    clock.advance(45_000);
    expect(ended).toEqual([]);
    clock.advance(2_000);
    expect(ended).toEqual(['a@app keepalive_timeout']);
    expect(registry.find('a@app')).toBeUndefined();
  });

  it('does not take for silence what it could not hear', () => {
    const alive = registry.open(arrival('a@app'));
    registry.open(arrival('gone@app'));
    clock.advance(40_000);
    clock.stall(3_600_000);
    clock.advance(1);
    expect(ended).toEqual([]);
    registry.touch(alive);
    clock.advance(6_000);
    expect(ended).toEqual(['gone@app keepalive_timeout']);
    clock.advance(40_000);
    expect(ended).toEqual(['gone@app keepalive_timeout', 'a@app keepalive_timeout']);
  });

  it('does not mind a step of the wall clock', () => {
    registry.open(arrival('a@app'));
    clock.step(10 * 365 * 86_400_000);
    clock.advance(44_000);
    clock.step(-20 * 365 * 86_400_000);
    clock.advance(500);
    expect(ended).toEqual([]);
  });

  it('lets a new login take the place of the old at once, also from another protocol', () => {
    const old = registry.open(arrival('a@app'));
    const fresh = registry.open(arrival('a@app', { protocol: 'mqtt' }));
    expect(ended).toEqual(['a@app taken_over']);
    expect(registry.find('a@app')).toBe(fresh);
    registry.close(old, 'normal');
    expect(registry.find('a@app')).toBe(fresh);
    expect([registry.count('coap'), registry.count('mqtt')]).toEqual([0, 1]);
  });

  it('takes no client for another that came in before it on the same protocol', () => {
    const ways: Partial<Arrival>[] = [
      {},
      { network: 'coaps' },
      { version: 2 },
      { keepalive: 60 },
      { clean: false },
      { will: { topic: 'gone', qos: 1, retain: false } },
      { timeout: 0 },
    ];
    for (const way of ways) {
      const former = registry.open(arrival('a@app'));
      const wanted = arrival('b@app', { ...way, username: 'u', address: '[2001:db8::1]:5683' });
      expect(registry.open(wanted)).toMatchObject(wanted);
      expect(former).toMatchObject({ ...arrival('a@app'), onEnd: former.onEnd });
    }
  });

  it('refuses one more than the limit, but not a known client', () => {
    for (const id of ['a@app', 'b@app', 'c@app']) registry.open(arrival(id));
    expect(() => registry.open(arrival('d@app'))).toThrow('limit of 3');
    expect(() => registry.open(arrival('a@app'))).not.toThrow();
  });

  it('gives each connection a token of its own of 128 bits, and takes no other', () => {
    const tokens = new Set(Array.from({ length: 600 }, () => registry.open(arrival('a@app')).token));
    expect(tokens.size).toBe(600);
    const connection = registry.open(arrival('a@app'));
    expect(connection.token).toHaveLength(22);
    expect(tokenMatches(connection, connection.token)).toBe(true);
    for (const wrong of ['', connection.token.slice(1), `${connection.token}x`, 'x'.repeat(22)]) {
      expect(tokenMatches(connection, wrong)).toBe(false);
    }
  });

  it('ends all when it stops, and leaves no timer', async () => {
    registry.open(arrival('a@app'));
    await registry.stop();
    expect(ended).toEqual(['a@app server_shutdown']);
    expect(clock.armed).toEqual([]);
  });

  it('records who came and who went, and why, under one connection id', () => {
    const first = registry.open(arrival('a@app', { username: 'u', keepalive: 60 }));
    registry.open(arrival('a@app', { protocol: 'mqtt', network: 'wss', version: 4 }));
    const { onEnd, protocol, timeout, ...facts } = arrival('b@app', { username: 'u' });
    registry.refused(facts);
    registry.close(registry.find('a@app') as Connection, 'socket_error');
    const shown = recorded.map((event) =>
      event.kind === 'delivered' ? '' : `${event.kind} ${event.clientId} ${event.connection} ${event.reason}`,
    );
    expect(shown).toEqual([
      'connected a@app 1 normal',
      'disconnected a@app 1 taken_over',
      'connected a@app 2 normal',
      'connected b@app 0 not_authorized',
      'disconnected a@app 2 socket_error',
    ]);
    expect(recorded[0]).toMatchObject({ username: 'u', network: 'coap', keepalive: 60, connection: first.connection });
    expect(recorded[2]).toMatchObject({ network: 'wss', version: 4 });
  });
});
