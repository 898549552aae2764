import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, it } from 'vitest';
import { freePort } from '../../support/ports.ts';
import { Daemon } from '../support/daemon.ts';
import { Mosquitto, scratch } from '../support/peers.ts';
import { type ConnectOptions, type Of, Raw } from './raw.ts';

/** A broker under test, and clients of it that end with the test. */
export interface Peer {
  readonly name: 'holdfast' | 'mosquitto';
  readonly port: number;
  /** A socket that has sent nothing yet. */
  dial(): Raw;
  /** A client that is connected. */
  client(options?: ConnectOptions): Promise<Raw>;
  /** The same, with the CONNACK. */
  connect(options: ConnectOptions): Promise<{ raw: Raw; connack: Of<'connack'> }>;
  /** Kills the daemon and starts it again; nothing of it is told to clients. */
  crash(): Promise<void>;
}

export interface StatementOptions {
  /** Why the statement is not asked of mosquitto: what it does instead, or that it is our own choice. */
  readonly notMosquitto?: string;
  readonly timeout?: number;
}

export type Statement = (title: string, run: (peer: Peer) => Promise<void>, options?: StatementOptions) => void;

const acl = `[auth]
anonymous = true
acl = [
  { effect = "deny", client = "refused", topic = "secret/#" },
  { effect = "allow", topic = "#" },
  { effect = "allow", topic = "$other/#" },
]
`;

/**
 * Statements of MQTT 3.1.1, each asked of the built daemon and of mosquitto: one that mosquitto fails is either a
 * wrong test, or says why it is not asked of it.
 */
export function conformance(part: string, body: (statement: Statement) => void): void {
  const place = scratch();
  const open: Raw[] = [];
  const ports = { holdfast: 0, mosquitto: 0 };
  let daemon: Daemon | undefined;
  let mosquitto: Mosquitto | undefined;

  beforeAll(async () => {
    ports.holdfast = await freePort();
    ports.mosquitto = await freePort();
    daemon = new Daemon(place.path, `[mqtt]\nlisten = ["mqtt://127.0.0.1:${ports.holdfast}"]\n${acl}`);
    const rules = join(place.path, 'acl');
    writeFileSync(rules, 'topic deny secret/#\ntopic readwrite #\ntopic readwrite $other/#\ntopic read $SYS/#\n');
    mosquitto = new Mosquitto(ports.mosquitto, place.path, { extra: `acl_file ${rules}\n` });
    await Promise.all([daemon.start(), mosquitto.start()]);
  });

  afterEach(() => {
    for (const raw of open.splice(0)) raw.vanish();
  });

  afterAll(async () => {
    await daemon?.kill('SIGTERM');
    await mosquitto?.stop();
    place.remove();
  });

  const peerOf = (name: Peer['name']): Peer => {
    const dial = () => {
      const raw = new Raw(ports[name]);
      open.push(raw);
      return raw;
    };
    const connect = async (options: ConnectOptions) => {
      const raw = dial();
      return { raw, connack: await raw.connect(options) };
    };
    return {
      name,
      get port() {
        return ports[name];
      },
      dial,
      connect,
      client: async (options = {}) => (await connect(options)).raw,
      crash: async () => {
        if (name === 'mosquitto') throw new Error('mosquitto is not killed');
        await daemon?.kill('SIGKILL');
        await daemon?.start();
      },
    };
  };

  const statements: { title: string; run: (peer: Peer) => Promise<void>; options: StatementOptions }[] = [];
  body((title, run, options = {}) => statements.push({ title, run, options }));
  for (const name of ['holdfast', 'mosquitto'] as const) {
    describe(`${part}, asked of ${name}`, () => {
      for (const { title, run, options } of statements) {
        if (name === 'mosquitto' && options.notMosquitto !== undefined) continue;
        it(title, { timeout: options.timeout ?? 20_000 }, () => run(peerOf(name)));
      }
    });
  }
}
