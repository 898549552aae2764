import { freePort, status, until } from '../bench.js';
import { ratios, row, spread } from '../measure.js';
import { coapOnly, mosquitto } from '../peers.js';
import { upstream } from './modes.js';

/**
 * From the time a device meant to send to the arrival at a subscriber of the cloud's mosquitto: CoAP (CON) over the daemon,
 * MQTT (QoS 1) over a mosquitto that bridges. Open loop at the same rates, one after the other.
 */
export async function latency(bench) {
  if (bench.peers.mosquitto === undefined) throw new Error('mosquitto is missing');
  const clouds = { mosquitto: await mosquitto(bench), holdfast: await mosquitto(bench) };
  const bridge = await mosquitto(bench, {
    persistence: true,
    more: `connection cloud\naddress 127.0.0.1:${clouds.mosquitto.port}\ncleansession false\ntopic # out 1\n`,
  });
  const port = await freePort();
  const daemon = await bench.daemon(coapOnly(port, '', upstream(clouds.holdfast.port)));
  await until('the link is up', async () => (await status(daemon.stateDir)).upstreams[0]?.state === 'connected');
  const servers = { mosquitto: bridge, holdfast: daemon };
  const rows = [];
  // the higher rate first: a gateway that has run for a while is compiled, whatever comes in
  for (const rate of [2_000, 100]) {
    const seconds = bench.pick(5, 2);
    const seen = await bench.alternate(bench.pick(5, 2), ['mosquitto', 'holdfast'], async (name, warming) => {
      const watching = bench.generate('mqtt-load', {
        port: clouds[name].port,
        publishers: 0,
        qos: 1,
        total: rate * (warming ? 1 : seconds),
        seconds: seconds + 10,
      });
      await watching.ready;
      const total = rate * (warming ? 1 : seconds);
      const options =
        name === 'holdfast'
          ? ['coap-load', { port, clients: 16, rate, seconds: total / rate }, (one) => one.done]
          : [
              'mqtt-load',
              { port: bridge.port, publishers: 16, subscribers: 0, qos: 1, rate, seconds: total / rate },
              (one) => one.acknowledged,
            ];
      const sent = await bench.measured(servers[name], ...options);
      // the last message may be one short of what the clock gave
      setTimeout(watching.end, 1_000);
      const got = await watching.figures;
      return { ...got.delivery, cpuUs: sent.cpuUs, missing: options[2](sent) - got.received };
    });
    const all = (name, key) => seen[name].map((result) => result[key]);
    for (const name of ['mosquitto', 'holdfast'])
      rows.push(
        row(`${name} at ${rate}/s: median to the subscriber upstream, ms`, all(name, 'p50'), {
          digits: 3,
          note: `p99 ${spread(all(name, 'p99'))}; ${spread(all(name, 'cpuUs'), 0)} µs of CPU; ${Math.max(0, ...all(name, 'missing'))} missing`,
        }),
      );
    rows.push(
      row(`median at ${rate}/s against mosquitto's bridge`, ratios(all('holdfast', 'p50'), all('mosquitto', 'p50')), {
        target: '<= 1.5',
      }),
    );
  }
  return rows;
}
