import { formatMessageId, topicMatches } from '../../domain/index.ts';
import { pageOf } from '../paging.ts';
import {
  badTopic,
  clientid,
  clientidErrors,
  currentPage,
  noTopic,
  pageErrors,
  pageSize,
  topics,
  userids,
} from '../parameters.ts';
import type { OnlineClient, Presence } from '../queries.ts';
import { bad } from '../refusal.ts';
import { type Caller, type Context, type Route, route } from '../route.ts';
import * as is from '../schemas.ts';
import type { ZonedTime } from '../zoned-time.ts';

/** Comparisons between two turns of the event loop. */
const slice = 1_000;
const unknown = "clientId doesn't exist";
const paging = { pageSize, currentPage };
const subscription = is.object({ topic: is.string, qos: is.integer });

const session = route({
  id: 'clientInfo',
  method: 'GET',
  paths: ['/openapi/rm/broker/clientInfo'],
  summary: 'A client’s session, connected or not.',
  authorized: true,
  load: 'query',
  parameters: { clientid, currentPage, pageSize },
  answer: is.object({
    clientID: is.string,
    status: { type: 'string', enum: ['online', 'offline'] },
    time: is.string,
    user: is.nullable('string'),
    keepalive: is.integer,
    cleansession: is.boolean,
    will: is.nullable('boolean'),
    version: is.integer,
    dataobject: is.list(subscription),
    pageSize: is.integer,
    currentPage: is.integer,
    total: is.integer,
  }),
  errors: [...clientidErrors, ...pageErrors, unknown],
  handle: async (values, { presence, queries }) => {
    const online = presence.find(values.clientid);
    const last = online === undefined ? await queries.lastConnection(values.clientid) : undefined;
    const facts = online ?? last;
    if (facts === undefined) throw bad(unknown);
    const subscriptions = presence.subscriptions(values.clientid);
    const { skip, limit } = pageOf(values, 'asc');
    return {
      clientID: facts.clientId,
      status: online === undefined ? 'offline' : 'online',
      time: String(online?.connectedAt ?? last?.time),
      user: facts.username === '' ? null : facts.username,
      keepalive: facts.keepalive,
      cleansession: facts.clean,
      will: facts.will === undefined ? null : true,
      version: facts.version,
      dataobject: subscriptions.slice(skip, skip + limit).map(({ topic, qos }) => ({ topic, qos })),
      pageSize: values.pageSize,
      currentPage: values.currentPage,
      total: subscriptions.length,
    };
  },
});

const row = {
  clientId: is.string,
  userid: is.nullable('string'),
  conntime: is.string,
  keepalive: is.integer,
  version: is.integer,
  protocol: { type: 'string', enum: ['tcp', 'ws', 'ssl', 'wss', 'coap', 'coaps'] },
  connid: is.id,
};
const rows = (more: Readonly<Record<string, object>>) =>
  is.object({ total: is.integer, data: is.list(is.object({ ...row, ...more })) });

/** The members that all lists have; the order is the document's. */
function rowOf(client: OnlineClient, zone: ZonedTime) {
  return {
    clientId: client.clientId,
    userid: client.username === '' ? null : client.username,
    conntime: zone.inSeconds(client.connectedAt),
    keepalive: client.keepalive,
    version: client.version,
    protocol: client.network,
    connid: formatMessageId(client.connection),
  };
}

/**
 * A page of what `matches` finds among the clients that are connected, the oldest connection first: pages do not shift
 * while clients come. Goes through them in slices and holds no more than the page. `cost`: comparisons per client.
 */
async function listed<Match>(
  { presence, clock }: Context,
  { signal }: Caller,
  values: { readonly pageSize: number; readonly currentPage: number },
  matches: (client: OnlineClient) => readonly Match[],
  shown: (client: OnlineClient, match: Match) => object,
  cost = 1,
): Promise<{ readonly total: number; readonly data: readonly object[] }> {
  const { skip, limit } = pageOf(values, 'asc');
  const data: object[] = [];
  let total = 0;
  let spent = 0;
  for (const client of presence.online()) {
    const found = matches(client);
    for (const [at, match] of found.entries()) {
      if (total + at >= skip && data.length < limit) data.push(shown(client, match));
    }
    total += found.length;
    spent += cost + found.length;
    if (spent < slice) continue;
    spent = 0;
    if (signal.aborted) break;
    await new Promise<void>((resolve) => clock.soon('list of clients', resolve));
  }
  return { total, data };
}

/** The topics asked for that a client has subscribed to: one entry per subscription that matches. */
function subscribed(presence: Presence, clientId: string, asked: ReadonlySet<string>): readonly string[] {
  const found: string[] = [];
  for (const { topic: filter } of presence.subscriptions(clientId)) {
    if (!/[+#]/.test(filter)) {
      if (asked.has(filter)) found.push(filter);
      continue;
    }
    for (const topic of asked) if (topicMatches(filter, topic)) found.push(topic);
  }
  return found;
}

const byTopic = route({
  id: 'onlineByTopic',
  method: 'GET',
  paths: ['/openapi/rm/users/topic'],
  summary: 'Clients that are connected and subscribed to a topic, one row per matching subscription.',
  authorized: true,
  load: 'query',
  parameters: { topic: topics, ...paging },
  answer: rows({ topic: is.string }),
  errors: [noTopic, badTopic, ...pageErrors],
  handle: async (values, context, caller) => {
    const asked = new Set(values.topic);
    return listed(
      context,
      caller,
      values,
      ({ clientId }) => subscribed(context.presence, clientId, asked),
      (client, topic) => {
        const { clientId, userid, keepalive, protocol, conntime, version, connid } = rowOf(client, context.zone);
        return { clientId, userid, keepalive, protocol, conntime, topic, version, connid };
      },
      asked.size,
    );
  },
});

const yes = [true];
const no: readonly true[] = [];

const byUser = route({
  id: 'onlineByUser',
  method: 'GET',
  paths: ['/openapi/rm/users/userid'],
  summary: 'Clients that are connected under a user name.',
  authorized: true,
  load: 'query',
  parameters: { userid: userids, ...paging },
  answer: rows({}),
  errors: ['userid cannot be empty', ...pageErrors],
  handle: async (values, context, caller) => {
    const asked = new Set(values.userid);
    return listed(
      context,
      caller,
      values,
      ({ username }) => (asked.has(username) ? yes : no),
      (client) => rowOf(client, context.zone),
    );
  },
});

const all = route({
  id: 'online',
  method: 'GET',
  paths: ['/openapi/rm/users/appid'],
  summary: 'Clients that are connected.',
  authorized: true,
  load: 'query',
  parameters: paging,
  answer: rows({ cleansession: is.boolean }),
  errors: pageErrors,
  handle: async (values, context, caller) =>
    listed(
      context,
      caller,
      values,
      () => yes,
      (client) => {
        const { clientId, userid, conntime, keepalive, version, protocol, connid } = rowOf(client, context.zone);
        return { clientId, userid, conntime, keepalive, cleansession: client.clean, version, protocol, connid };
      },
    ),
});

export const presenceRoutes: readonly Route[] = [session, byTopic, byUser, all];
