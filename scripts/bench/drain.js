import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import mqtt from 'mqtt';
import { freePort, load, median, pause, spread, start, startDaemon, status, stop } from './support.js';

const window = 64;

/** A backlog drained to a mosquitto on loopback, against a bare mqtt.js loop with the same window, QoS and payload. */
export async function drain({ directory, quick }) {
  const total = quick ? 20_000 : 100_000;
  const rounds = quick ? 2 : 3;
  const own = join(directory, 'drain');
  mkdirSync(own);
  const [coap, broker] = [await freePort(), await freePort()];
  const config = join(own, 'mosquitto.conf');
  writeFileSync(
    config,
    `listener ${broker} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_inflight_messages 0\nmax_queued_messages 0\nuser root\n`,
  );
  const mosquitto = () => start('/usr/sbin/mosquitto', ['-c', config], /mosquitto version .* running/);
  const daemon = await startDaemon(
    own,
    `[coap]\nlisten = ["coap://127.0.0.1:${coap}"]\n[mqtt]\nlisten = []\n[rest]\nlisten = ""\n` +
      `[[upstream]]\nname = "peer"\nurls = ["mqtt://127.0.0.1:${broker}"]\nclient_id = "bench"\nwindow = ${window}\n` +
      `backoff = { base = "50ms", cap = "200ms" }\ntopics = [{ topic = "#", direction = "out", qos = 1 }]\n`,
  );
  const ours = [];
  const bare = [];
  try {
    for (let round = 0; round < rounds; round++) {
      await load({ port: coap, clients: 64, seconds: 0, total });
      const peer = await mosquitto();
      let begun = 0;
      let left = total;
      let first = 0;
      for (;;) {
        const [upstream] = (await status(daemon.stateDir)).upstreams;
        const now = performance.now();
        if (begun === 0 && upstream.queuedMessages < total) {
          begun = now;
          first = upstream.queuedMessages;
        }
        left = upstream.queuedMessages;
        if (left === 0) {
          ours.push(first / ((now - begun) / 1000));
          break;
        }
        await pause(10);
      }
      bare.push(await bareLoop(broker, total));
      await stop(peer);
      await pause(300);
    }
  } finally {
    await stop(daemon, 'SIGKILL');
  }
  return [
    { figure: `draining ${total} messages, per second`, value: spread(ours, 0) },
    { figure: 'a bare mqtt.js loop, per second', value: spread(bare, 0) },
    { figure: 'against the bare loop', value: (median(ours) / median(bare)).toFixed(2), target: '>= 0.7' },
  ];
}

async function bareLoop(port, total) {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5, reconnectPeriod: 0 });
  const payload = Buffer.alloc(32, 0x78);
  const begun = performance.now();
  await new Promise((resolve) => {
    let sent = 0;
    let acknowledged = 0;
    const next = () => {
      while (sent < total && sent - acknowledged < window) {
        sent += 1;
        client.publish('bench/1', payload, { qos: 1 }, () => {
          acknowledged += 1;
          if (acknowledged === total) resolve();
          else next();
        });
      }
    };
    next();
  });
  const seconds = (performance.now() - begun) / 1000;
  await client.endAsync();
  return total / seconds;
}
