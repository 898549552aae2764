import { formatMessageId, type Network } from '../../domain/index.ts';
import type { ConnectionRecord } from '../../index/index.ts';
import { pageOf } from '../paging.ts';
import {
  clientid,
  clientidErrors,
  currentPage,
  messageId,
  openWindow,
  order,
  pageErrors,
  pageSize,
  window,
  windowErrors,
  windowOf,
} from '../parameters.ts';
import { type Context, type Route, route } from '../route.ts';
import * as is from '../schemas.ts';

const networks: Readonly<Record<Network, string>> = {
  tcp: 'mod_mqtt_tcp',
  ssl: 'mod_mqtt_ssl',
  ws: 'mod_mqtt_ws',
  wss: 'mod_mqtt_wss',
  coap: 'mod_coap',
  coaps: 'mod_coaps',
};

const rows = (row: Readonly<Record<string, object>>) =>
  is.object({ data: is.list(is.object(row)), totalCount: is.integer });
const noMessageId = 'messageid can not be empty';

const connections = route({
  id: 'connectionRecords',
  method: 'GET',
  paths: ['/openapi/rm/device/record'],
  summary: 'When a client connected and went, newest first.',
  authorized: true,
  load: 'query',
  parameters: { clientid, ...window, currentPage, pageSize },
  answer: rows({
    connid: is.id,
    ts: is.string,
    status: { type: 'string', enum: ['connect', 'disconnect'] },
    reason: is.string,
    detail: is.string,
  }),
  errors: [...clientidErrors, ...windowErrors, ...pageErrors],
  handle: async (values, { queries, zone }) => {
    const found = await queries.connectionRecords(values.clientid, windowOf(values), pageOf(values, 'desc'));
    const data = found.rows.map((record) => ({
      connid: formatMessageId(record.connection),
      ts: zone.withMillis(record.time),
      status: record.kind === 'connected' ? 'connect' : 'disconnect',
      reason: record.reason,
      detail: detailOf(record),
    }));
    return { data, totalCount: found.total };
  },
});

/** A JSON text with the members of the document's example, in its order. */
function detailOf(record: ConnectionRecord): string {
  return JSON.stringify({
    will_properties: {},
    will: record.will ?? null,
    version: record.version,
    ts: record.time,
    properties: {},
    network: networks[record.network],
    keep_alive: record.keepalive,
    ip: record.address,
    clean_start: record.clean,
  });
}

const messages = route({
  id: 'messageRecords',
  method: 'GET',
  paths: ['/openapi/rm/message/record'],
  summary: 'What a client published (uplink) and what was delivered to it (downlink).',
  authorized: true,
  load: 'query',
  parameters: { clientid, ...window, currentPage, pageSize, order },
  answer: rows({
    ts: is.string,
    mid: is.id,
    cid: is.string,
    direction: { type: 'string', enum: ['uplink', 'downlink'] },
  }),
  errors: [...clientidErrors, ...windowErrors, ...pageErrors, 'invalid order'],
  handle: async (values, { queries, zone }) => {
    const found = await queries.messageRecords(values.clientid, windowOf(values), pageOf(values, values.order));
    const data = found.rows.map(({ time, message, direction }) => ({
      ts: zone.withMillis(time),
      mid: formatMessageId(message),
      cid: values.clientid,
      direction,
    }));
    return { data, totalCount: found.total };
  },
});

const sent = route({
  id: 'sendRecord',
  method: 'GET',
  paths: ['/openapi/rm/message/publish'],
  summary: 'The send record of one message.',
  authorized: true,
  load: 'query',
  parameters: { clientid, messageid: messageId(noMessageId), order, ...openWindow },
  answer: rows({
    connid: is.id,
    ts: is.string,
    mid: is.id,
    cid: is.string,
    status: is.string,
    topic: is.string,
    qos: is.integer,
  }),
  errors: [...clientidErrors, noMessageId, 'invalid order', ...windowErrors.slice(1)],
  handle: async (values, context) => {
    const data = await sentRows(values, context);
    return { data, totalCount: data.length };
  },
});

async function sentRows(
  values: { clientid: string; messageid: bigint | undefined } & Parameters<typeof windowOf>[0],
  { queries, zone }: Context,
): Promise<readonly object[]> {
  if (values.messageid === undefined) return [];
  const message = await queries.message(values.messageid);
  // what came from an upstream, or from the gateway itself, no client sent
  if (message === undefined || message.origin === 'upstream' || message.origin === 'gateway') return [];
  const { from, to } = windowOf(values);
  if (message.clientId !== values.clientid || message.time < from || message.time > to) return [];
  return [
    {
      connid: formatMessageId(message.connection),
      ts: zone.withMillis(message.time),
      mid: formatMessageId(message.id),
      cid: message.clientId,
      status: 'normal',
      topic: message.topic,
      qos: message.qos,
    },
  ];
}

const delivered = route({
  id: 'deliveryRecords',
  method: 'GET',
  paths: ['/openapi/rm/message/subscribe'],
  summary: 'When one message was delivered to one client.',
  authorized: true,
  load: 'query',
  parameters: { clientid, messageid: messageId(noMessageId), ...window, currentPage, pageSize, order },
  answer: rows({ ts: is.string, cid: is.string, status: is.string, qos: is.integer }),
  errors: [...clientidErrors, noMessageId, ...windowErrors, ...pageErrors, 'invalid order'],
  handle: async (values, { queries, zone }) => {
    if (values.messageid === undefined) return { data: [], totalCount: 0 };
    const page = pageOf(values, values.order);
    const found = await queries.deliveries(values.messageid, values.clientid, windowOf(values), page);
    const data = found.rows.map(({ time, qos }) => ({
      ts: zone.withMillis(time),
      cid: values.clientid,
      status: 'normal',
      qos,
    }));
    return { data, totalCount: found.total };
  },
});

export const recordRoutes: readonly Route[] = [connections, messages, sent, delivered];
