import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import mqtt from 'mqtt';
import { freePort, pause, start, startDaemon, stop } from './support.js';

/**
 * Bytes to the disk per acknowledged message of 200 bytes, at 100 messages/s over MQTT: as the kernel accounts for them
 * (`write_bytes`: pages made dirty, so that each fsync of a page counts it again). Beside it Mosquitto's bridge.
 */
export async function wear({ directory, quick }) {
  const seconds = quick ? 20 : 60;
  const rows = [];
  for (const [name, target, given] of [
    ['link up', '<= 0.4', { link: true, gap: '0ms' }],
    ['link down, a gap of 250 ms', '<= 1.0', { link: false, gap: '250ms' }],
    ['link down, no gap', undefined, { link: false, gap: '0ms' }],
  ]) {
    rows.push({ figure: `${name}, kB per message`, value: await ours(directory, given, seconds), target });
  }
  for (const link of [true, false]) {
    const value = await bridge(directory, link, seconds);
    rows.push({ figure: `Mosquitto's bridge with persistence, link ${link ? 'up' : 'down'}`, value });
  }
  return rows;
}

async function ours(directory, { link, gap }, seconds) {
  const own = join(directory, `wear-${link}-${gap}`);
  mkdirSync(own);
  const [port, cloudPort] = [await freePort(), await freePort()];
  const cloud = link ? await mosquitto(own, cloudPort) : undefined;
  const daemon = await startDaemon(
    own,
    `[coap]\nlisten = []\n[mqtt]\nlisten = ["mqtt://127.0.0.1:${port}"]\n[rest]\nlisten = ""\n[store]\ncommit_gap = "${gap}"\n` +
      `[[upstream]]\nname = "cloud"\nurls = ["mqtt://127.0.0.1:${cloudPort}"]\ntopics = [{ topic = "#", direction = "out" }]\n`,
  );
  try {
    return await perMessage(daemon.child.pid, port, seconds, () => stop(daemon));
  } finally {
    await stop(daemon, 'SIGKILL');
    if (cloud !== undefined) await stop(cloud, 'SIGKILL');
  }
}

async function bridge(directory, link, seconds) {
  const own = join(directory, `wear-mosquitto-${link}`);
  mkdirSync(own);
  const [port, cloudPort] = [await freePort(), await freePort()];
  const cloud = link ? await mosquitto(own, cloudPort) : undefined;
  const config = join(own, 'bridge.conf');
  // saved each second at least, as somebody would set it who means not to lose what was acknowledged
  writeFileSync(
    config,
    `listener ${port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location ${own}/\n` +
      'autosave_interval 1\nmax_queued_messages 0\n' +
      `connection cloud\naddress 127.0.0.1:${cloudPort}\ncleansession false\ntopic # out 1\n`,
  );
  const broker = await start('/usr/sbin/mosquitto', ['-c', config], /mosquitto version .* running/);
  try {
    return await perMessage(broker.child.pid, port, seconds, () => stop(broker));
  } finally {
    await stop(broker, 'SIGKILL');
    if (cloud !== undefined) await stop(cloud, 'SIGKILL');
  }
}

function mosquitto(own, port) {
  const config = join(own, 'cloud.conf');
  writeFileSync(config, `listener ${port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\n`);
  return start('/usr/sbin/mosquitto', ['-c', config], /mosquitto version .* running/);
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
  return `${((last - before) / 1_000 / acknowledged).toFixed(2)} (${acknowledged} messages)`;
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

/** Bytes that a process sent to the storage layer; undefined once it is gone. */
function written(pid) {
  try {
    return Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]);
  } catch {
    return undefined;
  }
}
