import { freePort } from '../bench.js';
import { ratios, row, spread } from '../measure.js';
import { mosquitto, mqttOnly } from '../peers.js';

const shapes = {
  // as many as fit with the daemon's own limits; window: messages under way in all
  'fan-in from 200 publishers to 1 subscriber': { publishers: 200, subscribers: 1, window: 256 },
  'fan-out from 1 publisher to 100 subscribers': { publishers: 1, subscribers: 100, window: 8 },
};

/**
 * MQTT 3.1.1 within one gateway, against mosquitto. Persistence is on in both: the daemon fsyncs before a PUBACK, mosquitto
 * (`persistence true`, its defaults) saves every 30 minutes. The subscribers' sessions are persistent at QoS 1. Mosquitto
 * runs without a bound in flight, the daemon with its own of 20 for each subscriber. 32 bytes, closed loop.
 */
export async function mqtt(bench) {
  if (bench.peers.mosquitto === undefined) throw new Error('mosquitto is missing');
  const rows = [];
  for (const qos of [0, 1]) {
    for (const [shape, connections] of Object.entries(shapes)) {
      const port = await freePort();
      const servers = {
        mosquitto: await mosquitto(bench, { persistence: true }),
        holdfast: Object.assign(await bench.daemon(mqttOnly(port)), { port }),
      };
      const names = Object.keys(servers);
      const seen = await bench.alternate(bench.pick(5, 2), names, (name, warming) =>
        bench.measured(
          servers[name],
          'mqtt-load',
          {
            port: servers[name].port,
            qos,
            clean: qos === 0 ? 1 : 0,
            seconds: warming ? 1 : bench.pick(5, 1.5),
            ...connections,
          },
          (result) => result.received,
        ),
      );
      const all = (name, of) => seen[name].map(of);
      const title = `QoS ${qos}, ${shape}`;
      for (const name of names) {
        const missing = all(name, (one) => one.missing).reduce((a, b) => a + b, 0);
        rows.push(
          row(
            `${title}: ${name}, messages/s`,
            all(name, (one) => one.rate),
            {
              digits: 0,
              note: `${spread(
                all(name, (one) => one.cpuUs),
                1,
              )} µs of CPU; p99 ${spread(all(name, (one) => one.delivery.p99))} ms; generator ${spread(
                all(name, (one) => one.cpuShare),
              )} of a core${missing > 0 ? `; ${missing} MISSING` : ''}`,
            },
          ),
        );
      }
      rows.push(
        row(
          `${title}: against mosquitto`,
          ratios(
            all('holdfast', (one) => one.rate),
            all('mosquitto', (one) => one.rate),
          ),
        ),
        row(
          `${title}: CPU against mosquitto`,
          ratios(
            all('holdfast', (one) => one.cpuUs),
            all('mosquitto', (one) => one.cpuUs),
          ),
        ),
      );
      await bench.stopAll();
    }
  }
  return rows;
}
