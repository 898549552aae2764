import * as v from 'valibot';
import { topicFilterProblem } from '../domain/index.ts';
import { key } from './notes.ts';
import { upstreamUrlProblem } from './urls.ts';
import { checked, duration, filter, flag, list, oneOf, path, prefix, qos, size, table, text, whole } from './values.ts';

/** Files of a TLS listener or link. */
export const tls = {
  ca_file: key('Certificates to trust, PEM.', v.exactOptional(path())),
  cert_file: key('Certificate chain, PEM; together with key_file.', v.exactOptional(path())),
  key_file: key('Private key, PEM.', v.exactOptional(path())),
};

/** A rule of access. */
export const rule = table({
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
  max_age: key(
    'How long a message may wait to be sent; default: as the queue has it.',
    v.exactOptional(duration(1_000, Number.MAX_SAFE_INTEGER)),
    { unit: 'duration' },
  ),
  keep: key(
    'Of what waits: "all", or only the "latest" of each topic (for topics that tell a state).',
    v.optional(oneOf(['all', 'latest']), 'all'),
  ),
});

export const MiB = 1_048_576;

/** A broker that messages are forwarded to. */
export const upstream = table({
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
        bytes_rate: key(
          'Bytes/s of the backlog, topics and payloads; 0 = as fast as it goes.',
          v.optional(size(0), '0B'),
          {
            unit: 'size',
          },
        ),
        order: key(
          '"fifo", or "live_first": what comes in meanwhile overtakes the backlog.',
          v.optional(oneOf(['fifo', 'live_first']), 'fifo'),
        ),
        fresh_share: key(
          'Percent of the window that the backlog leaves to what overtakes it (live_first).',
          v.optional(whole(0, 99), 50),
        ),
        start_delay: key(
          'The backlog begins after a random time up to this: for many gateways at one broker.',
          v.optional(duration(0, 3_600_000), '0s'),
          { unit: 'duration' },
        ),
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
