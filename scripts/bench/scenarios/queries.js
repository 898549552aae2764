import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { freePort, status } from '../bench.js';
import { median, pause, row } from '../measure.js';

/** The three commonest queries of the REST API: how many a second, and what they cost the ingest. */
export async function queries(bench) {
  const port = await freePort();
  const daemon = await bench.daemon(
    `[app]\nid = "bench"\n[coap]\nlisten = ["coap://127.0.0.1:${port}"]\n[mqtt]\nlisten = []\n[rest]\nlisten = "http://127.0.0.1:0"\n`,
  );
  const seconds = bench.pick(5, 2);
  const ingest = (time = seconds) => bench.load({ port, clients: 64, seconds: time, connect: 1 });
  const { listeners } = await status(daemon.stateDir);
  const api = new URL(listeners.find((url) => url.startsWith('http')));
  const { appClientId, appClientSecret } = JSON.parse(readFileSync(join(daemon.stateDir, 'identity.json'), 'utf8'));
  const { body } = await call(api, '/openapi/rm/app/token', '', { appClientId, appClientSecret });
  const token = body.access_token;
  await ingest(bench.pick(15, 3));
  const day = (time) => new Date(time).toISOString().slice(0, 10);
  const window = `beginTime=${day(Date.now() - 86_400_000)}+00:00:00&endTime=${day(Date.now() + 2 * 86_400_000)}+00:00:00`;
  const asked = {
    session: '/openapi/rm/broker/clientInfo?clientid=bench-1@bench',
    'client history': `/openapi/rm/message/record?clientid=bench-1@bench&${window}`,
    'topic history': `/openapi/rm/message/messages?topic=bench/1&${window}`,
  };
  // the index is a second behind at most
  await pause(1_500);
  const topic = await call(api, asked['topic history'], token);
  const rows = [row('messages of the topic asked for', Number(topic.body.total), { digits: 0 })];
  for (const [name, path] of Object.entries(asked)) {
    const { rate, p50 } = await ask(api, token, [path], 4, seconds * 1_000);
    rows.push(row(`${name}: queries/s over 4 connections`, rate, { digits: 0, note: `p50 ${p50} ms` }));
  }
  const paths = Object.values(asked);
  const drops = { polled: [], flat: [] };
  const answered = [];
  for (let round = 0; round < bench.pick(5, 2); round++) {
    const alone = (await ingest()).rate;
    const [polled] = await Promise.all([ingest(), ask(api, token, paths, 1, seconds * 1_000, 20)]);
    const [flat, asking] = await Promise.all([ingest(), ask(api, token, paths, 4, seconds * 1_000)]);
    answered.push(asking.rate);
    drops.polled.push(100 * (1 - polled.rate / alone));
    drops.flat.push(100 * (1 - flat.rate / alone));
  }
  rows.push(
    row('drop of the ingest rate with 20 queries/s, %', drops.polled, { digits: 1, target: '<= 20' }),
    row('drop with 4 connections flat out, %', drops.flat, { digits: 1, target: '<= 20' }),
    row('queries/s that they get then', answered, { digits: 0 }),
  );
  return rows;
}

/** Asks over and over; `perSecond`: no faster than that. */
async function ask(api, token, paths, connections, ms, perSecond = Number.POSITIVE_INFINITY) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const until = performance.now() + ms;
  const times = [];
  const one = async (lane) => {
    for (let n = lane; performance.now() < until; n++) {
      const begun = performance.now();
      const answer = await call(api, paths[n % paths.length], token, undefined, agent);
      if (answer.code !== 200) throw new Error(JSON.stringify(answer));
      times.push(performance.now() - begun);
      if (perSecond !== Number.POSITIVE_INFINITY)
        await pause(Math.max(0, begun + 1_000 / perSecond - performance.now()));
    }
  };
  await Promise.all(Array.from({ length: connections }, (_, lane) => one(lane)));
  agent.destroy();
  return { rate: (times.length / ms) * 1_000, p50: median(times).toFixed(1) };
}

function call(api, path, token, body, agent) {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: api.hostname,
        port: api.port,
        path,
        method: body === undefined ? 'GET' : 'POST',
        headers: { authorization: token },
        agent,
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (data) => {
          text += data;
        });
        response.on('end', () => resolve(JSON.parse(text)));
      },
    );
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
