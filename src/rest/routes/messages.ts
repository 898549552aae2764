import { formatMessageId, type StoredMessage } from '../../domain/index.ts';
import { pageOf } from '../paging.ts';
import {
  badTopic,
  currentPage,
  encode,
  messageId,
  noTopic,
  pageErrors,
  pageSize,
  topic,
  window,
  windowErrors,
  windowOf,
} from '../parameters.ts';
import { bad } from '../refusal.ts';
import { type Route, RowStream, route } from '../route.ts';
import * as is from '../schemas.ts';
import type { ZonedTime } from '../zoned-time.ts';

const content = {
  messageId: is.id,
  clientId: is.string,
  connectionId: is.id,
  qos: is.integer,
  topic: is.string,
  publishTimeText: is.string,
  message: is.string,
};
const noMessageId = 'messageId cannot be empty';
const unknown = "message doesn't exist";
const badEncode = 'encode can only be utf-8 or base64';

function contentOf(message: StoredMessage, zone: ZonedTime, encoding: 'base64' | 'utf8'): object {
  const { buffer, byteOffset, byteLength } = message.payload;
  return {
    messageId: formatMessageId(message.id),
    clientId: message.clientId,
    connectionId: formatMessageId(message.connection),
    qos: message.qos,
    topic: message.topic,
    publishTimeText: zone.inSeconds(message.time),
    message: Buffer.from(buffer, byteOffset, byteLength).toString(encoding),
  };
}

const one = route({
  id: 'message',
  method: 'GET',
  paths: ['/openapi/rm/message/message'],
  summary: 'One message’s content.',
  authorized: true,
  load: 'query',
  parameters: { messageId: messageId(noMessageId), encode },
  answer: is.object(content),
  errors: [noMessageId, badEncode, unknown],
  handle: async (values, { queries, zone }) => {
    const message = values.messageId === undefined ? undefined : await queries.message(values.messageId);
    if (message === undefined) throw bad(unknown);
    return contentOf(message, zone, values.encode);
  },
});

const history = route({
  id: 'topicMessages',
  method: 'GET',
  paths: ['/openapi/rm/message/messages'],
  summary: 'What clients published to one topic, newest first.',
  authorized: true,
  load: 'stream',
  parameters: { ...window, topic, pageSize, currentPage, encode },
  answer: is.object({ total: is.integer, messages: is.list(is.object(content)) }),
  errors: [...windowErrors, noTopic, badTopic, ...pageErrors, badEncode],
  handle: async (values, { queries, zone }) => {
    const found = await queries.topicMessages(values.topic, windowOf(values), pageOf(values, 'desc'));
    async function* contents() {
      for await (const message of found.messages) yield contentOf(message, zone, values.encode);
    }
    return new RowStream({ total: found.total }, 'messages', contents());
  },
});

export const messageRoutes: readonly Route[] = [one, history];
