import { afterEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/base/index.ts';
import {
  type ClientRequest,
  type ClientResponse,
  CoapClient,
  code,
  codeText,
  type DatagramListener,
  type Datagrams,
  decode,
  encode,
  methods,
  optionNumbers,
} from '../../src/coap/index.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { block, blockText, empty, intOf, uint } from './support/wire.ts';

/** The client in lockstep with a server that is played here: what it sends is looked at, what it gets is made up. */

const typeNames = ['CON', 'NON', 'ACK', 'RST'] as const;

interface Sent {
  readonly type: string;
  readonly code: string;
  readonly mid: number;
  readonly token: Buffer;
  readonly payload: Buffer;
  readonly options: Readonly<Record<number, Buffer>>;
  readonly path: string;
}

class Lockstep implements Datagrams {
  readonly clock = new FakeClock();
  readonly failures: string[] = [];
  readonly client: CoapClient;
  closed = false;
  #listener: DatagramListener | undefined;
  #sent: Sent[] = [];

  constructor() {
    const failed = (reason: HoldfastError) => this.failures.push(reason.message);
    this.client = new CoapClient({ datagrams: this, clock: this.clock, failed, random: () => 0 });
  }

  async open(listener: DatagramListener): Promise<void> {
    this.#listener = listener;
  }

  send(datagram: Uint8Array): void {
    const message = decode(Buffer.from(datagram));
    if (message.problem !== undefined) throw new Error('the client sent what is no CoAP');
    const options: Record<number, Buffer> = {};
    const path: string[] = [];
    for (let at = 0; at < message.options.length; at += 3) {
      const number = message.options[at] as number;
      const value = message.datagram.subarray(message.options[at + 1], message.options[at + 2]);
      options[number] = value;
      if (number === optionNumbers.uriPath) path.push(value.toString());
    }
    this.#sent.push({
      type: typeNames[message.type as 0 | 1 | 2 | 3],
      code: codeText(message.code),
      mid: message.messageId,
      token: message.token,
      payload: message.payload,
      options,
      path: path.join('/'),
    });
  }

  close(): void {
    this.closed = true;
  }

  /** What was sent since the last look. */
  async sent(): Promise<Sent[]> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    return this.#sent.splice(0);
  }

  /** The one message that was sent. */
  async one(): Promise<Sent> {
    const all = await this.sent();
    expect(all).toHaveLength(1);
    return all[0] as Sent;
  }

  receive(datagram: Buffer): void {
    this.#listener?.received(Buffer.from(datagram));
  }

  fail(reason: string): void {
    this.#listener?.failed(new HoldfastError('unavailable', reason));
  }

  /** A response to `to`: piggybacked, unless `type` says otherwise. */
  answer(to: Sent, answer: Answer): void {
    const options: (readonly [number, Uint8Array])[] = [...(answer.options ?? [])];
    if (answer.observe !== undefined) options.push([optionNumbers.observe, uint(answer.observe)]);
    this.receive(
      encode({
        type: typeNames.indexOf(answer.type ?? 'ACK'),
        code: answer.code,
        messageId: answer.mid ?? to.mid,
        token: answer.token ?? to.token,
        options,
        payload: Buffer.from(answer.payload ?? ''),
      }),
    );
  }
}

interface Answer {
  readonly type?: 'CON' | 'NON' | 'ACK';
  readonly code: number;
  readonly mid?: number;
  readonly token?: Buffer;
  readonly observe?: number;
  readonly options?: readonly (readonly [number, Uint8Array])[];
  readonly payload?: string | Uint8Array;
}

const content = code(2, 5);
const changed = code(2, 4);
const proceed = code(2, 31);
const tooLarge = code(4, 13);
const get: ClientRequest = { method: methods.get, path: ['ps', 'a'], query: ['c=1'] };
const post = (payload: string | Buffer): ClientRequest => ({
  ...get,
  method: methods.post,
  payload: Buffer.from(payload),
});

const opened: Lockstep[] = [];

async function lockstep(): Promise<Lockstep> {
  const wire = new Lockstep();
  await wire.client.open();
  opened.push(wire);
  return wire;
}

afterEach(() => {
  // no exchange remains
  for (const { clock } of opened.splice(0)) expect(clock.armed).toEqual([]);
});

/** What an observer was told. */
function observer(taken?: Promise<void>) {
  const told: string[] = [];
  return {
    told,
    notified: (payload: Buffer) => {
      told.push(payload.toString());
      return taken;
    },
    missed: (reason: HoldfastError) => void told.push(`missed: ${reason.message}`),
    ended: (last: ClientResponse) => void told.push(`ended: ${codeText(last.code)} ${last.payload}`),
  };
}

describe('a request', () => {
  it('is answered by what comes in its ACK', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(post('21'));
    const sent = await wire.one();
    expect(sent).toMatchObject({ type: 'CON', code: '0.02', path: 'ps/a', payload: Buffer.from('21') });
    expect(sent.token).toHaveLength(8);
    wire.answer(sent, { code: changed, payload: 'thanks' });
    expect(await asked).toEqual({ code: changed, payload: Buffer.from('thanks') });
    expect(await wire.sent()).toEqual([]);
  });

  //  CON ──x      2 s      CON ──x      4 s      CON ──▶ … 8 s, 16 s, and 32 s in vain
  it('is sent again after 2, 6, 14 and 30 s, the same, and given up after 62', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(get);
    const first = await wire.one();
    const times: number[] = [];
    for (let second = 1; second < 62; second++) {
      wire.clock.advance(1_000);
      for (const again of await wire.sent()) {
        expect(again).toEqual(first);
        times.push(second);
      }
    }
    expect(times).toEqual([2, 6, 14, 30]);
    wire.clock.advance(1_000);
    await expect(asked).rejects.toMatchObject({ code: 'unavailable', message: 'no answer to 5 requests' });
  });

  it('whose answer was lost gets it with a retransmission', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(get);
    await wire.one();
    wire.clock.advance(2_000);
    wire.answer(await wire.one(), { code: content, payload: 'late' });
    expect((await asked).payload.toString()).toBe('late');
  });

  it('that is acknowledged is not sent again; its separate answer is acknowledged, each time that it comes', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(get);
    const sent = await wire.one();
    wire.receive(empty('ACK', sent.mid));
    wire.clock.advance(60_000);
    expect(await wire.sent()).toEqual([]);
    for (let time = 0; time < 2; time++) {
      wire.answer(sent, { type: 'CON', mid: 77, code: content, payload: 'separate' });
      expect(await wire.one()).toMatchObject({ type: 'ACK', code: '0.00', mid: 77 });
    }
    expect((await asked).payload.toString()).toBe('separate');
  });

  it('is over with a separate answer whose ACK was lost', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(get);
    wire.answer(await wire.one(), { type: 'NON', mid: 77, code: content, payload: 'x' });
    expect((await asked).payload.toString()).toBe('x');
    expect(await wire.sent()).toEqual([]);
  });

  it('that is acknowledged and never answered fails after 93 s', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(get);
    wire.receive(empty('ACK', (await wire.one()).mid));
    wire.clock.advance(93_000);
    await expect(asked).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('fails with RST', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(get);
    wire.receive(empty('RST', (await wire.one()).mid));
    await expect(asked).rejects.toThrow('reset');
  });

  it('fails at once where nobody listens, and so does what waits', async () => {
    const wire = await lockstep();
    const both = Promise.allSettled([wire.client.request(get), wire.client.request(get)]);
    await wire.one();
    wire.fail('nobody listens there');
    expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(wire.failures).toEqual(['nobody listens there']);
    expect(await wire.sent()).toEqual([]);
  });

  it('waits until the one before is acknowledged (NSTART 1)', async () => {
    const wire = await lockstep();
    const first = wire.client.request(get);
    const second = wire.client.request(post('2'));
    const one = await wire.one();
    wire.receive(empty('ACK', one.mid));
    wire.answer(await wire.one(), { code: changed });
    await second;
    wire.answer(one, { type: 'NON', mid: 5, code: content });
    await first;
  });

  it('is not answered by another message id or token', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(get);
    const sent = await wire.one();
    wire.answer(sent, { code: changed, mid: (sent.mid + 1) & 0xffff });
    wire.answer(sent, { code: changed, token: Buffer.from('0102030405060708', 'hex') });
    wire.answer(sent, { code: content });
    expect((await asked).code).toBe(content);
    expect(await wire.sent()).toEqual([]);
  });

  it('for which CoAP has no room is an error, and not sent', async () => {
    const wire = await lockstep();
    await expect(wire.client.request({ ...get, path: ['x'.repeat(256)] })).rejects.toMatchObject({
      code: 'bad_request',
    });
    expect(await wire.sent()).toEqual([]);
  });

  it('is rejected once the client is closed', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(get);
    await wire.one();
    wire.client.close();
    await expect(asked).rejects.toThrow('closed');
    await expect(wire.client.request(get)).rejects.toThrow('closed');
    expect(wire.closed).toBe(true);
  });
});

describe('what nobody waits for', () => {
  it.each([
    ['a ping', empty('CON', 9)],
    ['a request', encode({ type: 0, code: methods.get, messageId: 9 })],
    ['a response', encode({ type: 0, code: content, messageId: 9, token: Buffer.from('aa', 'hex') })],
    ['a malformed message', Buffer.from('4045000951', 'hex')],
  ])('%s gets RST', async (_what, datagram) => {
    const wire = await lockstep();
    wire.receive(datagram);
    expect(await wire.one()).toMatchObject({ type: 'RST', mid: 9 });
  });

  it.each([
    ['a stray ACK', empty('ACK', 9)],
    ['a stray RST', empty('RST', 9)],
    ['a runt', Buffer.from('40', 'hex')],
    ['another version', Buffer.from('80450009', 'hex')],
  ])('%s gets nothing', async (_what, datagram) => {
    const wire = await lockstep();
    wire.receive(datagram);
    expect(await wire.sent()).toEqual([]);
  });
});

describe('a large payload', () => {
  const body = Buffer.from(Array.from({ length: 2_500 }, (_, at) => at % 251));

  it('goes in blocks of 1024 bytes, with its size', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(post(body));
    const parts: Buffer[] = [];
    for (const expected of ['0/1/1024', '1/1/1024', '2/0/1024']) {
      const sent = await wire.one();
      expect(blockText(sent.options[optionNumbers.block1])).toBe(expected);
      expect(intOf(sent.options[optionNumbers.size1])).toBe(parts.length === 0 ? 2_500 : undefined);
      expect(sent.path).toBe('ps/a');
      parts.push(sent.payload);
      const last = expected === '2/0/1024';
      const options = [[optionNumbers.block1, sent.options[optionNumbers.block1] as Buffer]] as const;
      wire.answer(sent, { code: last ? changed : proceed, options });
    }
    expect((await asked).code).toBe(changed);
    expect(Buffer.concat(parts).equals(body)).toBe(true);
  });

  it('goes on in smaller blocks where the server asks for them', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(post(body.subarray(0, 1_300)));
    const first = await wire.one();
    wire.answer(first, { code: proceed, options: [[optionNumbers.block1, block(0, true, 256)]] });
    const second = await wire.one();
    expect(blockText(second.options[optionNumbers.block1])).toBe('4/1/256');
    wire.answer(second, { code: proceed, options: [[optionNumbers.block1, block(4, true, 256)]] });
    const third = await wire.one();
    expect(blockText(third.options[optionNumbers.block1])).toBe('5/0/256');
    wire.answer(third, { code: changed });
    await asked;
    expect(Buffer.concat([first, second, third].map(({ payload }) => payload)).equals(body.subarray(0, 1_300))).toBe(
      true,
    );
  });

  it('begins again in smaller blocks where the first was too large', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(post(body.subarray(0, 1_025)));
    wire.answer(await wire.one(), { code: tooLarge, options: [[optionNumbers.block1, block(0, true, 512)]] });
    const sent = await wire.one();
    expect(blockText(sent.options[optionNumbers.block1])).toBe('0/1/512');
    wire.answer(sent, { code: code(5, 3) });
    expect((await asked).code).toBe(code(5, 3));
  });

  it('that is refused is not sent on', async () => {
    const wire = await lockstep();
    const asked = wire.client.request(post(body));
    wire.answer(await wire.one(), { code: tooLarge, options: [[optionNumbers.size1, uint(100)]] });
    expect((await asked).code).toBe(tooLarge);
    expect(await wire.sent()).toEqual([]);
  });
});

describe('an observation', () => {
  async function observing(taken?: Promise<void>) {
    const wire = await lockstep();
    const seen = observer(taken);
    const asked = wire.client.observe(get, seen);
    const sent = await wire.one();
    expect(intOf(sent.options[optionNumbers.observe])).toBe(0);
    wire.answer(sent, { code: content, observe: 1 });
    expect((await asked).code).toBe(content);
    const notify = (answer: Partial<Answer>) =>
      wire.answer(sent, { type: 'CON', mid: 100, code: content, observe: 2, ...answer });
    return { wire, sent, notify, told: seen.told };
  }

  it('tells what comes, in order, and acknowledges CON', async () => {
    const { wire, notify, told } = await observing();
    notify({ mid: 100, payload: 'one' });
    notify({ mid: 101, type: 'NON', payload: 'two', observe: 3 });
    notify({ mid: 102, payload: '', observe: 4 });
    expect((await wire.sent()).map(({ type, mid }) => `${type} ${mid}`)).toEqual(['ACK 100', 'ACK 102']);
    expect(told).toEqual(['one', 'two', '']);
  });

  it('tells what came twice once, and acknowledges it twice', async () => {
    const { wire, notify, told } = await observing();
    for (let time = 0; time < 2; time++) {
      notify({ payload: 'one' });
      expect(await wire.one()).toMatchObject({ type: 'ACK', mid: 100 });
    }
    expect(told).toEqual(['one']);
  });

  it('takes the same message id with other contents for another message', async () => {
    const { wire, notify, told } = await observing();
    notify({ payload: 'one', observe: 2 });
    await wire.one();
    notify({ payload: 'one', observe: 3 });
    expect(await wire.one()).toMatchObject({ type: 'ACK', mid: 100 });
    expect(told).toEqual(['one', 'one']);
  });

  it('acknowledges a message once it is taken, also where it came again meanwhile', async () => {
    let take: () => void = () => undefined;
    const taken = new Promise<void>((resolve) => {
      take = resolve;
    });
    const { wire, notify, told } = await observing(taken);
    notify({ payload: 'one' });
    notify({ payload: 'one' });
    expect(await wire.sent()).toEqual([]);
    take();
    expect(await wire.one()).toMatchObject({ type: 'ACK', mid: 100 });
    expect(told).toEqual(['one']);
  });

  it('fetches the blocks of a large message, and acknowledges it then', async () => {
    const { wire, notify, told } = await observing();
    const etag = [optionNumbers.etag, Buffer.from('e1')] as const;
    notify({ payload: 'x'.repeat(16), options: [etag, [optionNumbers.block2, block(0, true, 16)]] });
    const second = await wire.one();
    expect(second).toMatchObject({ type: 'CON', code: '0.01', path: 'ps/a' });
    expect(second.options[optionNumbers.observe]).toBeUndefined();
    expect(blockText(second.options[optionNumbers.block2])).toBe('1/0/16');
    wire.answer(second, {
      code: content,
      payload: 'y'.repeat(16),
      options: [etag, [optionNumbers.block2, block(1, true, 16)]],
    });
    const third = await wire.one();
    expect(blockText(third.options[optionNumbers.block2])).toBe('2/0/16');
    wire.answer(third, { code: content, payload: 'z', options: [etag, [optionNumbers.block2, block(2, false, 16)]] });
    expect(await wire.one()).toMatchObject({ type: 'ACK', mid: 100 });
    expect(told).toEqual([`${'x'.repeat(16)}${'y'.repeat(16)}z`]);
  });

  it('says that a message was missed whose blocks changed, and goes on', async () => {
    const { wire, notify, told } = await observing();
    const etag = (name: string) => [optionNumbers.etag, Buffer.from(name)] as const;
    notify({ payload: 'x'.repeat(16), options: [etag('e1'), [optionNumbers.block2, block(0, true, 16)]] });
    wire.answer(await wire.one(), {
      code: content,
      payload: 'y',
      options: [etag('e2'), [optionNumbers.block2, block(1, false, 16)]],
    });
    expect(await wire.one()).toMatchObject({ type: 'ACK', mid: 100 });
    notify({ mid: 101, payload: 'next', observe: 3 });
    await wire.one();
    expect(told).toEqual(['missed: it changed while its blocks were fetched', 'next']);
  });

  it('ends with a final response; what comes after gets RST', async () => {
    const { wire, sent, notify, told } = await observing();
    notify({ payload: 'first' });
    await wire.one();
    wire.answer(sent, { type: 'CON', mid: 101, code: code(4, 4), payload: 'gone' });
    expect(await wire.one()).toMatchObject({ type: 'ACK', mid: 101 });
    expect(told).toEqual(['first', 'ended: 4.04 gone']);
    notify({ mid: 102, payload: 'stray', observe: 9 });
    expect(await wire.one()).toMatchObject({ type: 'RST', mid: 102 });
  });

  it('that is refused is none', async () => {
    const wire = await lockstep();
    const seen = observer();
    const asked = wire.client.observe(get, seen);
    const sent = await wire.one();
    wire.answer(sent, { code: code(4, 1), payload: 'no' });
    expect(await asked).toEqual({ code: code(4, 1), payload: Buffer.from('no') });
    wire.answer(sent, { type: 'CON', mid: 100, code: content, observe: 2, payload: 'x' });
    expect(await wire.one()).toMatchObject({ type: 'RST' });
    expect(seen.told).toEqual([]);
  });

  it('that the server does not take is an error', async () => {
    const wire = await lockstep();
    const asked = wire.client.observe(get, observer());
    wire.answer(await wire.one(), { code: content, payload: 'just so' });
    await expect(asked).rejects.toThrow('does not offer to be observed');
  });

  it('is cancelled with Observe 1', async () => {
    const wire = await lockstep();
    const asked = wire.client.cancel(get);
    const sent = await wire.one();
    expect(intOf(sent.options[optionNumbers.observe])).toBe(1);
    wire.answer(sent, { code: code(2, 7) });
    await asked;
  });
});
