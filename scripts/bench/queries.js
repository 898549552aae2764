import { mkdirSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { freePort, load, median, pause, spread, startDaemon, status, stop } from './support.js';

/** The three commonest queries of the REST API: how many a second, and what they cost the ingest. */
export async function queries({ directory, quick }) {
  const own = join(directory, 'queries');
  mkdirSync(own);
  const port = await freePort();
  const daemon = await startDaemon(
    own,
    `[app]\nid = "bench"\n[coap]\nlisten = ["coap://127.0.0.1:${port}"]\n[mqtt]\nlisten = []\n[rest]\nlisten = "http://127.0.0.1:0"\n`,
  );
  const seconds = quick ? 2 : 5;
  const ingest = (time = seconds) => load({ port, clients: 64, seconds: time, mode: 'connect+publish' });
  try {
    const { listeners } = await status(daemon.stateDir);
    const api = new URL(listeners.find((url) => url.startsWith('http')));
    const { appClientId, appClientSecret } = JSON.parse(readFileSync(join(daemon.stateDir, 'identity.json'), 'utf8'));
    const { body } = await call(api, '/openapi/rm/app/token', '', { appClientId, appClientSecret });
    const token = body.access_token;
    await ingest(quick ? 4 : 15);
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
    const rows = [{ figure: 'messages of the topic asked for', value: String(topic.body.total) }];
    for (const [name, path] of Object.entries(asked)) {
      const { rate, p50 } = await ask(api, token, [path], 4, seconds * 1_000);
      rows.push({
        figure: `${name}: queries a second over 4 connections; p50, ms`,
        value: `${rate.toFixed(0)}; ${p50}`,
      });
    }
    const paths = Object.values(asked);
    const drops = { polled: [], flat: [] };
    const answered = [];
    for (let round = 0; round < (quick ? 2 : 5); round++) {
      const alone = (await ingest()).rate;
      const [polled] = await Promise.all([ingest(), ask(api, token, paths, 1, seconds * 1_000, 20)]);
      const [flat, asking] = await Promise.all([ingest(), ask(api, token, paths, 4, seconds * 1_000)]);
      answered.push(asking.rate);
      drops.polled.push(100 * (1 - polled.rate / alone));
      drops.flat.push(100 * (1 - flat.rate / alone));
    }
    rows.push(
      {
        figure: 'drop of the ingest rate with 20 queries a second, %',
        value: spread(drops.polled, 1),
        target: '<= 20',
      },
      { figure: 'drop with 4 connections flat out, %', value: spread(drops.flat, 1), target: '<= 20' },
      { figure: 'queries a second that they get then', value: spread(answered, 0) },
    );
    return rows;
  } finally {
    await stop(daemon, 'SIGKILL');
  }
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
