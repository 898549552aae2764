import { ceiling } from './ceiling.js';
import { drain } from './drain.js';
import { dtls } from './dtls.js';
import { fanout } from './fanout.js';
import { heartbeats } from './heartbeats.js';
import { idle } from './idle.js';
import { latency } from './latency.js';
import { memory } from './memory.js';
import { modes } from './modes.js';
import { mqtt } from './mqtt.js';
import { non } from './non.js';
import { pi } from './pi.js';
import { publish } from './publish.js';
import { queries } from './queries.js';
import { scaling } from './scaling.js';
import { soak } from './soak.js';
import { startup } from './startup.js';
import { uploads } from './uploads.js';
import { wear } from './wear.js';

/** Every scenario, in the order in which they run: what it measures, minutes it takes about, what it gets. */
export const scenarios = {
  ceiling: { run: ceiling, minutes: 1, about: 'what the CoAP generator itself can do' },
  publish: { run: publish, minutes: 3, about: 'durable CoAP publish, 64 clients, closed and open loop, against peers' },
  modes: { run: modes, minutes: 8, about: 'the same for 1, 64, 1,000 clients, both modes, link up, down, none' },
  non: { run: non, minutes: 2, about: 'non-confirmable publish' },
  fanout: { run: fanout, minutes: 4, about: 'observe fan-out to 1, 100, 1,000' },
  heartbeats: { run: heartbeats, minutes: 3, about: 'heartbeats of 10,000 and 100,000 clients' },
  uploads: { run: uploads, minutes: 1, about: 'block-wise upload of 16 KiB' },
  latency: {
    run: latency,
    minutes: 2,
    about: 'from the device to a subscriber upstream, against a mosquitto that bridges',
  },
  drain: { run: drain, minutes: 2, about: 'a backlog to the upstream, against a bare mqtt.js loop' },
  mqtt: { run: mqtt, minutes: 6, about: 'MQTT fan-in and fan-out, QoS 0 and 1, against mosquitto' },
  queries: { run: queries, minutes: 3, about: 'the REST API and what it costs the ingest' },
  memory: { run: memory, minutes: 2, about: 'resident memory idle, per client, per observer' },
  startup: { run: startup, minutes: 3, about: 'time to ready, empty and with a million messages' },
  idle: { run: idle, minutes: 2, about: 'CPU and wake-ups of an idle process' },
  wear: { run: wear, minutes: 6, about: 'bytes to the disk per message' },
  dtls: { run: dtls, minutes: 1, about: 'handshakes, sessions, requests over coaps' },
  scaling: { run: scaling, minutes: 8, about: 'cost and memory as clients, topics, backlog, observers grow tenfold' },
  pi: { run: pi, minutes: 4, about: 'a quarter of a core, an fsync of 20 ms' },
  soak: { run: soak, minutes: 60, about: 'memory after an hour of load (--soak-minutes)' },
};
