import { formatMessageId, type Message, type QoS } from '../../domain/index.ts';
import { clientIdProblem, isTopic } from '../parameters.ts';
import { type Context, type Parameter, type Route, route } from '../route.ts';
import * as is from '../schemas.ts';

const maxTopics = 32;
const shortestExpiry = 86_400;
const longestExpiry = 259_200;

const missing = (name: string) => ({ wrong: `Missing required parameters ${name}` });

const topics: Parameter<readonly string[]> = {
  doc: 'Topics, without wildcards.',
  required: true,
  schema: { type: 'array', items: is.string, minItems: 1, maxItems: maxTopics },
  example: ['topic1', 'topic2'],
  check: (value) => {
    if (value === undefined) return missing('topics');
    if (!Array.isArray(value)) return { wrong: 'topics must be an array' };
    if (value.length === 0) return { wrong: 'topics array can not be empty' };
    if (value.length > maxTopics) return { wrong: `topics array's size can not exceed ${maxTopics}` };
    return value.every(isTopic) ? { value } : { wrong: 'error_topics_format' };
  },
};

const clientid: Parameter<string> = {
  doc: 'Client id of the publisher, deviceID@AppID; it need not be connected.',
  required: true,
  schema: { type: 'string', maxLength: 64 },
  example: 'clientid0@a0cta0',
  check: (value, { appId }) => {
    if (value === undefined) return missing('clientid');
    if (value === '') return { wrong: 'clientid can not be empty' };
    const wrong = clientIdProblem(value, appId);
    return wrong === undefined ? { value: value as string } : { wrong };
  },
};

/** How the payload is to be read, and whether it may be empty, is said by parameters that come after it. */
const payload: Parameter<Uint8Array> = {
  doc: 'Content; empty only with retain 1, which clears the retained message.',
  required: true,
  schema: is.string,
  check: (value, { given, maxPayload }) => {
    if (value === undefined) return missing('payload');
    if (typeof value !== 'string') return { wrong: 'payload must be a string' };
    if (value === '' && given('retain') !== 1) return { wrong: 'payload can not be empty' };
    const base64 = given('encoding') === 'base64';
    if (base64 && !isBase64(value)) return { wrong: 'bad base64 payload type' };
    const bytes = Buffer.from(value, base64 ? 'base64' : 'utf8');
    return bytes.length > maxPayload ? { wrong: 'payload_too_larger' } : { value: bytes };
  },
};

/** RFC 4648 §4, padded. */
function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

function option<Value>(
  doc: string,
  schema: object,
  initial: Value,
  wrong: string,
  read: (value: unknown) => Value | undefined,
): Parameter<Value> {
  return {
    doc,
    required: false,
    schema,
    check: (value) => {
      const found = value === undefined ? initial : read(value);
      return found === undefined ? { wrong } : { value: found };
    },
  };
}

const encoding = option(
  'Encoding of the payload.',
  { type: 'string', enum: ['plain', 'base64'], default: 'plain' },
  'plain',
  'invalid encoding',
  (value) => (value === 'plain' || value === 'base64' ? value : undefined),
);

const qos = option<QoS>('QoS.', { type: 'integer', enum: [0, 1, 2], default: 0 }, 0, 'invalid qos', (value) =>
  value === 0 || value === 1 || value === 2 ? value : undefined,
);

const retain = option(
  '1: the message is kept for those who subscribe later.',
  { type: 'integer', enum: [0, 1], default: 0 },
  false,
  'invalid retain',
  (value) => (value === 0 || value === 1 ? value === 1 : undefined),
);

const expire = option(
  `Seconds for which it is worth delivering, cut into ${shortestExpiry} to ${longestExpiry}; for ever where it is left out.`,
  is.integer,
  0,
  'invalid expire',
  (value) =>
    typeof value === 'number' && Number.isInteger(value)
      ? Math.min(longestExpiry, Math.max(shortestExpiry, value))
      : undefined,
);

const publish = route({
  id: 'publish',
  method: 'POST',
  paths: ['/openapi/v1/rm/chat/publish', '/v1/rm/chat/publish'],
  summary: 'Publishes a message to up to 32 topics; all of them are stored when the answer comes, or none.',
  authorized: true,
  load: 'light',
  parameters: { topics, clientid, payload, encoding, qos, retain, expire },
  answer: is.object({ mids: is.list(is.id) }),
  errors: [
    'Missing required parameters topics',
    'topics must be an array',
    'topics array can not be empty',
    `topics array's size can not exceed ${maxTopics}`,
    'error_topics_format',
    'Missing required parameters clientid',
    'clientid can not be empty',
    'invalid clientid',
    "clientid and appid doesn't match",
    'Missing required parameters payload',
    'payload must be a string',
    'payload can not be empty',
    'bad base64 payload type',
    'payload_too_larger',
    'invalid encoding',
    'invalid qos',
    'invalid retain',
    'invalid expire',
  ],
  handle: async (values, { publisher }) => {
    const messages = values.topics.map(
      (topic): Message => ({
        topic,
        payload: values.payload,
        qos: values.qos,
        retain: values.retain,
        expiry: values.expire,
        origin: 'rest',
        upstream: '',
        clientId: values.clientid,
        username: '',
        connection: 0n,
      }),
    );
    const ids = await publishTogether(publisher, messages);
    return { mids: ids.map(formatMessageId) };
  },
});

function publishTogether(publisher: Context['publisher'], messages: readonly Message[]): Promise<readonly bigint[]> {
  return new Promise((resolve, reject) => {
    publisher.publishTogether(messages, (error, ids) => (error === undefined ? resolve(ids) : reject(error)));
  });
}

export const publishRoutes: readonly Route[] = [publish];
