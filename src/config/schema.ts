import * as v from 'valibot';
import { topicFilterProblem } from '../domain/index.ts';
import { coapUrlProblem, mqttUrlProblem, restUrlProblem, upstreamUrlProblem } from './urls.ts';
import {
  checked,
  duration,
  filter,
  flag,
  list,
  oneOf,
  path,
  prefix,
  qos,
  size,
  table,
  text,
  timeZoneProblem,
  whole,
} from './values.ts';

/** What is known of a key beside its type: a sentence for the sample file, and how its value is written and shown. */
export interface KeyNote {
  readonly doc: string;
  readonly unit?: 'duration' | 'size';
  readonly secret?: boolean;
}

const notes = new WeakMap<object, KeyNote>();

/** What was said of a key's schema. */
export function noteOf(schema: object): KeyNote | undefined {
  return notes.get(schema);
}

function key<Schema extends object>(doc: string, schema: Schema, more: Omit<KeyNote, 'doc'> = {}): Schema {
  notes.set(schema, { doc, ...more });
  return schema;
}

const tls = {
  ca_file: key('Certificates to trust, PEM.', v.exactOptional(path())),
  cert_file: key('Certificate chain, PEM; together with key_file.', v.exactOptional(path())),
  key_file: key('Private key, PEM.', v.exactOptional(path())),
};

const rule = table({
  effect: key('"allow" or "deny".', oneOf(['allow', 'deny'])),
  action: key('"publish", "subscribe" or "all".', v.optional(oneOf(['all', 'publish', 'subscribe']), 'all')),
  user: key('A user name; * is anyone.', v.optional(text(), '*')),
  client: key('A deviceID, without @AppID; * is any.', v.optional(text(), '*')),
  topic: key('A filter; %u is the user, %c the deviceID.', filter()),
});

const route = table({
  topic: key('Which topics, as a filter.', filter()),
  direction: key('"out" to the upstream, "in" from it, or "both".', oneOf(['out', 'in', 'both'])),
  qos: key('QoS at most.', v.optional(qos(), 1)),
  local_prefix: key('Put before the topic here.', v.optional(prefix(), '')),
  remote_prefix: key('Put before the topic at the upstream.', v.optional(prefix(), '')),
});

const MiB = 1_048_576;

const upstream = table({
  name: key(
    'Names its queue on disk: a new name starts a new queue.',
    checked('a name of 1 to 64 letters, digits, _ - .', (it) =>
      /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(it) ? undefined : 'has others',
    ),
  ),
  urls: key(
    'Tried in order, the first preferred: mqtt, mqtts, ws, wss.',
    v.pipe(list(checked('a URL such as "mqtts://host:8883"', upstreamUrlProblem)), v.minLength(1, 'expected a URL')),
  ),
  client_id: key('Default: made from the gateway id.', v.exactOptional(path())),
  username: key('User name at the broker.', v.exactOptional(text())),
  password: key('Password; better in password_file.', v.exactOptional(text()), { secret: true }),
  password_file: key('File whose first line is the password.', v.exactOptional(path())),
  ...tls,
  insecure: key('Does not check the broker’s certificate: for a test bench only.', v.optional(flag(), false)),
  keepalive: key('MQTT keep-alive.', v.optional(duration(1_000, 65_535_000), '60s'), { unit: 'duration' }),
  protocol: key('"auto" tries MQTT 5 first.', v.optional(oneOf(['auto', '5', '3.1.1']), 'auto')),
  topics: key('What goes which way.', list(route)),
  queue: key(
    'What may wait for this upstream.',
    v.optional(
      table({
        max_bytes: key('Bytes at most.', v.optional(size(65_536), '512MiB'), { unit: 'size' }),
        overflow: key(
          'When full: "drop_oldest" or "reject".',
          v.optional(oneOf(['drop_oldest', 'reject']), 'drop_oldest'),
        ),
        max_age: key('Age at most.', v.exactOptional(duration(1_000, Number.MAX_SAFE_INTEGER)), { unit: 'duration' }),
        max_messages: key('Messages at most.', v.exactOptional(whole(1, Number.MAX_SAFE_INTEGER))),
        qos0: key('Whether QoS 0 is queued too.', v.optional(flag(), true)),
      }),
      {},
    ),
  ),
  window: key('Messages in flight at most.', v.optional(whole(1, 65_535), 64)),
  replay: key(
    'How a backlog is sent.',
    v.optional(
      table({
        rate: key('Messages/s of the backlog; 0 = as fast as it goes.', v.optional(whole(0, 1_000_000), 0)),
        order: key('"fifo", or "live_first".', v.optional(oneOf(['fifo', 'live_first']), 'fifo')),
      }),
      {},
    ),
  ),
  ack_timeout: key('No PUBACK for so long: reconnect.', v.optional(duration(1_000), '30s'), { unit: 'duration' }),
  backoff: key(
    'Between attempts to connect: random, up to a bound that doubles from base to cap.',
    v.optional(
      table({
        base: key('First bound.', v.optional(duration(10), '1s'), { unit: 'duration' }),
        cap: key('Last bound.', v.optional(duration(10), '60s'), { unit: 'duration' }),
      }),
      {},
    ),
  ),
  status_topic: key(
    'Topic at the upstream for this gateway’s retained status.',
    v.exactOptional(
      checked('a topic without wildcards', (it) => (/[+#]/.test(it) ? 'has one' : topicFilterProblem(it))),
    ),
  ),
});

/** Every key, its type, default, check and sentence. The sample file and the documentation come from it. */
export const schema = table({
  state_dir: key(
    'Where the log, the index and the identity are; relative to the working directory.',
    v.optional(path(), './data'),
  ),
  shutdown_deadline: key('Longest orderly stop.', v.optional(duration(100), '10s'), { unit: 'duration' }),
  app: key(
    'The application that the devices belong to.',
    v.optional(
      table({
        id: key(
          'AppID in deviceID@AppID; made up at the first start if absent.',
          v.exactOptional(
            checked('1 to 32 letters, digits, _ -', (it) =>
              /^[A-Za-z0-9_-]{1,32}$/.test(it) ? undefined : 'has others',
            ),
          ),
        ),
        time_zone: key(
          'For times in the REST API; default: the system’s.',
          v.exactOptional(checked('a time zone such as "Asia/Shanghai"', timeZoneProblem)),
        ),
      }),
      {},
    ),
  ),
  coap: key(
    'CoAP devices.',
    v.optional(
      table({
        listen: key(
          'Addresses, coap://host:port, or coaps://host:port (DTLS; port 5684); [] = none.',
          v.optional(list(checked('a URL such as "coap://127.0.0.1:5683"', coapUrlProblem)), ['coap://127.0.0.1:5683']),
        ),
        ...tls,
        client_cert: key(
          'Client certificates of coaps: "none", "optional" or "required"; the common name is the user.',
          v.optional(oneOf(['none', 'optional', 'required']), 'none'),
        ),
        mode: key(
          '"connectionless", or "connection": a token from mqtt/connection is asked for.',
          v.optional(oneOf(['connectionless', 'connection']), 'connectionless'),
        ),
        heartbeat: key(
          'A client is gone after 1.5 x this without a sign of life.',
          v.optional(duration(1_000), '30s'),
          { unit: 'duration' },
        ),
        block_size: key(
          'Bytes of a block (RFC 7959) at most: 16 to 1024, a power of two.',
          v.optional(v.picklist([16, 32, 64, 128, 256, 512, 1024], 'expected a power of two from 16 to 1024'), 1_024),
        ),
        ack_timeout: key('First wait for an acknowledgement (RFC 7252).', v.optional(duration(100, 60_000), '2s'), {
          unit: 'duration',
        }),
        max_retransmit: key('Retransmissions of a confirmable message.', v.optional(whole(0, 10), 4)),
      }),
      {},
    ),
  ),
  mqtt: key(
    'MQTT devices.',
    v.optional(
      table({
        listen: key(
          'Addresses: mqtt, mqtts, ws, wss; [] = none.',
          v.optional(list(checked('a URL such as "mqtt://127.0.0.1:1883"', mqttUrlProblem)), ['mqtt://127.0.0.1:1883']),
        ),
        ...tls,
        client_cert: key(
          'Client certificates: "none", "optional" or "required".',
          v.optional(oneOf(['none', 'optional', 'required']), 'none'),
        ),
      }),
      {},
    ),
  ),
  rest: key(
    'The REST API, health, metrics.',
    v.optional(
      table({
        listen: key(
          'Address, http://host:port or https://host:port; "" = none.',
          v.optional(checked('a URL such as "http://127.0.0.1:8080"', restUrlProblem), 'http://127.0.0.1:8080'),
        ),
        cert_file: key('Certificate chain for https, PEM; together with key_file.', v.exactOptional(path())),
        key_file: key('Private key, PEM.', v.exactOptional(path())),
      }),
      {},
    ),
  ),
  auth: key(
    'Who may come in, and what for.',
    v.optional(
      table({
        anonymous: key(
          'Whether devices need no password. To be stated to listen beyond loopback without users; else true until there are users.',
          v.exactOptional(flag()),
        ),
        users_file: key('Managed by `holdfast user`; relative to state_dir.', v.optional(path(), 'users.toml')),
        psk_file: key(
          'Keys for coaps, managed by `holdfast psk`; relative to state_dir.',
          v.optional(path(), 'psk.toml'),
        ),
        acl: key(
          'Rules, the first match wins; no rule at all: everything is allowed; rules and none matches: denied.',
          v.optional(list(rule), []),
        ),
      }),
      {},
    ),
  ),
  store: key(
    'What is kept on disk.',
    v.optional(
      table({
        commit_delay: key(
          'Longest wait for an upstream’s acknowledgement before the fsync.',
          v.optional(duration(0, 60_000), '100ms'),
          { unit: 'duration' },
        ),
        commit_gap: key('Least time between fsyncs; SD cards: 250ms.', v.optional(duration(0, 60_000), '0ms'), {
          unit: 'duration',
        }),
        history: key(
          'How much of the past is kept for queries.',
          v.optional(
            table({
              max_bytes: key('Bytes at most.', v.optional(size(), '256MiB'), { unit: 'size' }),
              max_age: key('Age at most.', v.optional(duration(0, Number.MAX_SAFE_INTEGER), '30d'), {
                unit: 'duration',
              }),
              max_messages: key('Messages at most.', v.exactOptional(whole(0, Number.MAX_SAFE_INTEGER))),
            }),
            {},
          ),
        ),
      }),
      {},
    ),
  ),
  upstream: key('Brokers that messages are forwarded to.', v.optional(list(upstream), [])),
  limits: key(
    'Bounds, so that no client can take everything.',
    v.optional(
      table({
        clients: key('Clients connected at once.', v.optional(whole(1, 1_000_000), 100_000)),
        payload: key('Bytes of a payload.', v.optional(size(1, 16 * MiB), '64KiB'), { unit: 'size' }),
        subscriptions_per_client: key('Subscriptions of one client.', v.optional(whole(1, 1_000_000), 100)),
        retained: key('Retained messages.', v.optional(whole(0, 10_000_000), 10_000)),
        retained_bytes: key('Bytes of all retained messages.', v.optional(size(), '16MiB'), { unit: 'size' }),
        sessions: key('Persistent MQTT sessions.', v.optional(whole(1, 1_000_000), 10_000)),
        session_messages: key('Messages queued for one session.', v.optional(whole(1, 60_000), 10_000)),
        session_bytes: key('Bytes queued for one session.', v.optional(size(), '16MiB'), { unit: 'size' }),
        sessions_bytes: key('Bytes queued for all sessions.', v.optional(size(), '64MiB'), { unit: 'size' }),
        session_age: key(
          'How long a message is queued for a session, and a session without a connection kept.',
          v.optional(duration(1_000, Number.MAX_SAFE_INTEGER), '14d'),
          { unit: 'duration' },
        ),
        coap_pending: key('CoAP requests in work at once.', v.optional(whole(1, 1_000_000), 4_096)),
        dtls_sessions: key('DTLS sessions of each coaps address.', v.optional(whole(1, 1_000_000), 10_000)),
        mqtt_connections: key('MQTT connections, logged in or not.', v.optional(whole(1, 1_000_000), 1_000)),
        mqtt_packet: key('Bytes of an MQTT packet.', v.optional(size(256, 256 * MiB), '128KiB'), { unit: 'size' }),
        rest_connections: key('HTTP connections at once.', v.optional(whole(1, 100_000), 256)),
      }),
      {},
    ),
  ),
  log: key(
    'What the daemon writes about itself.',
    v.optional(
      table({
        level: key(
          '"debug", "info", "warn" or "error".',
          v.optional(oneOf(['debug', 'info', 'warn', 'error']), 'info'),
        ),
        format: key(
          '"json", "pretty", or "auto": pretty on a terminal.',
          v.optional(oneOf(['auto', 'json', 'pretty']), 'auto'),
        ),
      }),
      {},
    ),
  ),
});

type Camel<Name> = Name extends `${infer First}_${infer Rest}` ? `${First}${Capitalize<Camel<Rest> & string>}` : Name;
type Camelised<T> = T extends readonly (infer Item)[]
  ? readonly Camelised<Item>[]
  : T extends object
    ? { readonly [Name in keyof T as Camel<Name>]: Camelised<T[Name]> }
    : T;

type Stated = Camelised<v.InferOutput<typeof schema>>;

/** The effective configuration: every default filled in; durations in milliseconds, sizes in bytes, paths absolute. */
export type Config = Omit<Stated, 'auth'> & {
  readonly auth: Omit<Stated['auth'], 'anonymous'> & { readonly anonymous: boolean };
};
export type UpstreamConfig = Config['upstream'][number];
