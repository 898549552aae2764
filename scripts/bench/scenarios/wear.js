import mqtt from 'mqtt';
import { freePort } from '../bench.js';
import { pause, row, written } from '../measure.js';
import { mosquitto, mqttOnly } from '../peers.js';
import { upstream } from './modes.js';

/**
 * Bytes to the disk per acknowledged message of 200 bytes, at 100 messages/s over MQTT: as the kernel accounts for them
 * (`write_bytes`: pages made dirty, so that each fsync of a page counts it again). Beside it Mosquitto's bridge.
 */
export async function wear(bench) {
  if (bench.peers.mosquitto === undefined) throw new Error('mosquitto is missing');
  const seconds = bench.pick(60, 8);
  const rows = [];
  for (const [name, target, given] of [
    ['link up', '<= 0.4', { link: true, gap: '0ms' }],
    ['link down, a gap of 250 ms', '<= 1.0', { link: false, gap: '250ms' }],
    ['link down, no gap', undefined, { link: false, gap: '0ms' }],
  ]) {
    const { kilobytes, note } = await ours(bench, given, seconds);
    rows.push(row(`${name}, kB per message`, kilobytes, { note, ...(target === undefined ? {} : { target }) }));
  }
  for (const link of [true, false]) {
    const { kilobytes, note } = await bridge(bench, link, seconds);
    rows.push(row(`mosquitto's bridge, saved every second, link ${link ? 'up' : 'down'}, kB`, kilobytes, { note }));
  }
  return rows;
}

async function ours(bench, { link, gap }, seconds) {
  const [port, cloudPort] = [await freePort(), await freePort()];
  if (link) await mosquitto(bench, { port: cloudPort });
  const daemon = await bench.daemon(mqttOnly(port, `[store]\ncommit_gap = "${gap}"\n${upstream(cloudPort)}`));
  const given = await perMessage(daemon.pid, port, seconds, () => bench.stop(daemon));
  await bench.stopAll();
  return given;
}

async function bridge(bench, link, seconds) {
  const cloudPort = await freePort();
  if (link) await mosquitto(bench, { port: cloudPort });
  // saved each second at least, as somebody would set it who means not to lose what was acknowledged
  const broker = await mosquitto(bench, {
    persistence: true,
    more: `autosave_interval 1\nconnection cloud\naddress 127.0.0.1:${cloudPort}\ncleansession false\ntopic # out 1\n`,
  });
  const given = await perMessage(broker.pid, broker.port, seconds, () => bench.stop(broker));
  await bench.stopAll();
  return given;
}

async function perMessage(pid, port, seconds, end) {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 4 });
  await pause(2_000);
  const before = written(pid);
  let acknowledged = 0;
  const begun = performance.now();
  for (let n = 0; performance.now() - begun < seconds * 1_000; n++) {
    client.publishAsync(`site/line${n % 10}/sensor${n % 7}`, reading(n), { qos: 1 }).then(() => {
      acknowledged += 1;
    });
    await pause(Math.max(0, begun + (n + 1) * 10 - performance.now()));
  }
  await client.endAsync();
  // what is still to be written is written at an orderly end
  const counting = setInterval(() => note(), 5);
  let last = written(pid);
  const note = () => {
    last = written(pid) ?? last;
  };
  await end();
  clearInterval(counting);
  return { kilobytes: (last - before) / 1_000 / acknowledged, note: `${acknowledged} messages` };
}

/** 200 bytes of JSON such as a sensor sends. */
function reading(n) {
  const value = {
    ts: 1_790_000_000_000 + n * 10,
    seq: n,
    temperature: 20 + Math.sin(n) * 5,
    unit: 'C',
    state: 'ok',
    pad: '',
  };
  value.pad = Math.abs(Math.sin(n * 7.3))
    .toString(36)
    .slice(2)
    .repeat(20)
    .slice(0, 200 - JSON.stringify(value).length);
  return JSON.stringify(value);
}
