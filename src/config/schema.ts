import * as v from 'valibot';
import { key } from './notes.ts';
import { MiB, rule, tls, upstream } from './upstream-schema.ts';
import { coapUrlProblem, mqttUrlProblem, restUrlProblem } from './urls.ts';
import { checked, duration, flag, list, oneOf, path, size, table, timeZoneProblem, whole } from './values.ts';

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
        use_identity_as_username: key(
          'A client with a certificate is the user that its common name says, without a password.',
          v.optional(flag(), false),
        ),
        sys_interval: key(
          'How often who subscribes to $SYS is told what has changed; 0s = no $SYS.',
          v.optional(duration(0), '10s'),
          { unit: 'duration' },
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
              max_bytes: key(
                'Bytes on the disk, the query index included; a third more at most. The store’s own work needs up to two thirds of 32MiB, little of 256MiB. Less than 4MiB takes as much as 4MiB.',
                v.optional(size(), '256MiB'),
                { unit: 'size' },
              ),
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
        mqtt_connect_rate: key(
          'MQTT connections taken per second, over all listeners; 0 = any.',
          v.optional(whole(0, 1_000_000), 500),
        ),
        mqtt_inflight: key(
          'Messages of QoS 1 and 2 unacknowledged by one subscriber.',
          v.optional(whole(1, 60_000), 20),
        ),
        mqtt_queued: key(
          'Messages that wait for a subscriber without a session to acknowledge others.',
          v.optional(whole(0, 1_000_000), 1_000),
        ),
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
