import { HoldfastError } from '../base/index.ts';
import { fullClientId, parseMessageId, topicNameProblem } from '../domain/index.ts';
import type { CheckContext, Checked, Parameter } from './route.ts';
import { string } from './schemas.ts';
import type { WrittenTime } from './zoned-time.ts';

/** The checks of the query parameters. Pure: a value in, a value or the text of the error out. */

const maxTopicBytes = 1_024;
const latest = 8.64e15;

/** A text that must be there; empty is missing. */
function text(doc: string, missing: string, more: Partial<Parameter> = {}): Parameter<string> {
  return {
    doc,
    required: true,
    schema: string,
    ...more,
    check: (value) => (typeof value === 'string' && value !== '' ? { value } : { wrong: missing }),
  };
}

/** What is wrong with a full client id that is not empty, or undefined where nothing is. */
export function clientIdProblem(value: unknown, appId: string): string | undefined {
  const invalid = 'invalid clientid';
  if (typeof value !== 'string' || !value.includes('@')) return invalid;
  const app = value.slice(value.indexOf('@') + 1);
  try {
    fullClientId(value, app);
  } catch (thrown) {
    if (thrown instanceof HoldfastError) return invalid;
    throw thrown;
  }
  return app === appId ? undefined : "clientid and appid doesn't match";
}

export const clientid: Parameter<string> = {
  doc: 'Client id, deviceID@AppID.',
  required: true,
  schema: { type: 'string', maxLength: 64 },
  example: 'abc@a0cta0',
  check: (value, { appId }) => {
    if (value === undefined) return { wrong: 'clientid can not be empty' };
    const wrong = clientIdProblem(value, appId);
    return wrong === undefined ? { value: value as string } : { wrong };
  },
};

/** A message id as the API shows it; undefined for one that no message can have. */
export function messageId(missing: string): Parameter<bigint | undefined> {
  return {
    doc: 'Message id, 16 upper-case hexadecimal digits.',
    required: true,
    schema: string,
    example: '04D2E037FA002000',
    aliases: ['messageid', 'messageId'],
    check: (value) => (typeof value === 'string' ? { value: parseMessageId(value) } : { wrong: missing }),
  };
}

function counted(name: string, doc: string, initial: number, max: number): Parameter<number> {
  return {
    doc,
    required: false,
    schema: { type: 'integer', minimum: 1, maximum: max, default: initial },
    check: (value) => {
      if (value === undefined) return { value: initial };
      const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : 0;
      return number >= 1 && number <= max ? { value: number } : { wrong: `invalid ${name}` };
    },
  };
}

export const currentPage = counted('currentPage', 'Page, from 1.', 1, 1e12);
export const pageSize = counted('pageSize', 'Rows of a page.', 10, 1_000);

export const order: Parameter<'asc' | 'desc'> = {
  doc: 'ASC is oldest first, DESC newest first.',
  required: false,
  schema: { type: 'string', enum: ['ASC', 'DESC'], default: 'DESC' },
  check: (value) => {
    if (value === undefined) return { value: 'desc' };
    const lower = typeof value === 'string' ? value.toLowerCase() : '';
    return lower === 'asc' || lower === 'desc' ? { value: lower } : { wrong: 'invalid order' };
  },
};

export const encode: Parameter<'base64' | 'utf8'> = {
  doc: 'Encoding of the content in the answer.',
  required: false,
  schema: { type: 'string', enum: ['base64', 'utf-8'], default: 'base64' },
  check: (value) => {
    if (value === undefined) return { value: 'base64' };
    const lower = typeof value === 'string' ? value.toLowerCase() : '';
    if (lower === 'base64') return { value: 'base64' };
    return lower === 'utf-8' ? { value: 'utf8' } : { wrong: 'encode can only be utf-8 or base64' };
  },
};

/** Whether a message can be published to `topic` over the API. */
export function isTopic(topic: unknown): topic is string {
  return (
    typeof topic === 'string' && topicNameProblem(topic) === undefined && Buffer.byteLength(topic) <= maxTopicBytes
  );
}

const noTopic = 'topic cannot be empty';
const badTopic = 'error_topics_format';

export const topic: Parameter<string> = {
  ...text('Topic, without wildcards.', noTopic, { example: 'ddd' }),
  check: (value) => {
    if (value === undefined) return { wrong: noTopic };
    return isTopic(value) ? { value } : { wrong: badTopic };
  },
};

function listed(doc: string, missing: string, example: string): Parameter<readonly string[]> {
  return {
    doc,
    required: true,
    schema: string,
    example,
    check: (value) => {
      const parts = typeof value === 'string' ? value.split(',').filter((part) => part !== '') : [];
      return parts.length > 0 ? { value: [...new Set(parts)] } : { wrong: missing };
    },
  };
}

export const userids = listed('User names, parted by commas.', 'userid cannot be empty', 'vimin1,vimin2');
const topicList = listed('Topics without wildcards, parted by commas.', noTopic, 'a,b');

export const topics: Parameter<readonly string[]> = {
  ...topicList,
  check: (value, context) => {
    const checked = topicList.check(value, context);
    return 'wrong' in checked || checked.value.every(isTopic) ? checked : { wrong: badTopic };
  },
};

const noTime = 'beginTime and endTime can not be empty';
const badTime = 'beginTime and endTime must be yyyy-MM-dd HH:mm:ss';
const noWindow = 'end time must be greater than the start time';
const time = { type: 'string', pattern: '^\\d{4}-\\d{2}-\\d{2} \\d{2}:\\d{2}:\\d{2}(\\.\\d{3})?$' };

type Time = WrittenTime | undefined;

function checkedTime(value: unknown, required: boolean, { zone }: CheckContext): Checked<Time> {
  if (value === undefined) return required ? { wrong: noTime } : { value: undefined };
  const parsed = typeof value === 'string' ? zone.parse(value) : undefined;
  return parsed === undefined ? { wrong: badTime } : { value: parsed };
}

function begin(required: boolean): Parameter<Time> {
  return {
    doc: 'Begin of the window, included, in the gateway’s time zone.',
    required,
    schema: time,
    example: '2021-08-20 15:00:00',
    check: (value, context) => checkedTime(value, required, context),
  };
}

function end(required: boolean): Parameter<Time> {
  return {
    doc: 'End of the window, included; whole seconds include that second.',
    required,
    schema: time,
    example: '2021-08-28 19:00:00',
    check: (value, context) => {
      const checked = checkedTime(value, required, context);
      const before = context.before.beginTime as Time;
      if ('wrong' in checked || checked.value === undefined || before === undefined) return checked;
      return checked.value.written <= before.written ? { wrong: noWindow } : checked;
    },
  };
}

/** `beginTime` and `endTime`, in that order. */
export const window = { beginTime: begin(true), endTime: end(true) };
export const openWindow = { beginTime: begin(false), endTime: end(false) };

/** The instants that a window holds; it is open where an end is missing. */
export function windowOf(values: { readonly beginTime: Time; readonly endTime: Time }): { from: number; to: number } {
  return { from: values.beginTime?.from ?? -latest, to: values.endTime?.to ?? latest };
}

export const windowErrors = [noTime, badTime, noWindow];
export const clientidErrors = ['clientid can not be empty', 'invalid clientid', "clientid and appid doesn't match"];
export const pageErrors = ['invalid currentPage', 'invalid pageSize'];
export { badTopic, noTopic };
