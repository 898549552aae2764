import {
  type CipherCCMTypes,
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  createECDH,
  createHash,
  createHmac,
  type KeyObject,
  randomBytes,
  sign,
  verify,
  X509Certificate,
} from 'node:crypto';

/** A DTLS 1.2 client with a pre-shared key or certificates, of the tests' own: it shares no code with the server. */

export const suites = { ccm8: 0xc0a8, ccm: 0xc0a4, gcm: 0x00a8 } as const;
export const certified = { ccm8: 0xc0ae, ccm: 0xc0ac, gcm: 0xc02b } as const;

export interface ClientOptions {
  readonly identity?: string;
  readonly key?: Buffer;
  readonly suites?: readonly number[];
  readonly ems?: boolean;
  /** Ours; empty: we want none in what comes to us. Absent: not offered. */
  readonly cid?: Buffer;
  /** Bytes of a handshake fragment at most; of a hello's, 90 at least. */
  readonly fragment?: number;
  readonly version?: number;
  readonly supportedVersions?: readonly number[];
  readonly resume?: Ticket;
  /** Signalling of RFC 5746: the SCSV by default. */
  readonly renegotiation?: 'scsv' | 'extension' | 'bad' | 'none';
  readonly compressions?: readonly number[];
  readonly extra?: Buffer;
  /** Its Finished is protected with the right keys, and says the wrong thing. */
  readonly badFinished?: boolean;
  /** Its Finished is right, and not protected. */
  readonly clearFinished?: boolean;
  /** Its certificate, where one is asked for; `chain` may be empty. `forged`: signs other bytes than it should. */
  readonly certificate?: { readonly chain: readonly Buffer[]; readonly key?: KeyObject; readonly forged?: boolean };
  /** Of supported_groups and signature_algorithms, with suites with certificates. */
  readonly groups?: readonly number[];
  readonly signatures?: readonly number[];
}

export interface Ticket {
  readonly id: Buffer;
  readonly master: Buffer;
}

export interface Record {
  readonly type: number;
  readonly version: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly cid: Buffer;
  readonly header: Buffer;
  readonly body: Buffer;
}

interface HandshakeMessage {
  readonly type: number;
  readonly sequence: number;
  readonly body: Buffer;
  readonly epoch: 0 | 1;
}

const u16 = (value: number) => Buffer.from([value >> 8, value & 255]);
const vec24 = (bytes: Uint8Array) => Buffer.concat([u24(bytes.length), bytes]);
const u24 = (value: number) => Buffer.from([value >> 16, (value >> 8) & 255, value & 255]);
const vec8 = (bytes: Uint8Array) => Buffer.concat([Buffer.from([bytes.length]), bytes]);
const vec16 = (bytes: Uint8Array) => Buffer.concat([u16(bytes.length), bytes]);
const extension = (type: number, data: Uint8Array) => Buffer.concat([u16(type), vec16(data)]);

function prf(secret: Buffer, label: string, seed: Buffer, length: number): Buffer {
  const hmac = (data: Buffer) => createHmac('sha256', secret).update(data).digest();
  const labelled = Buffer.concat([Buffer.from(label), seed]);
  const blocks: Buffer[] = [];
  for (let a = hmac(labelled); blocks.length * 32 < length; a = hmac(a))
    blocks.push(hmac(Buffer.concat([a, labelled])));
  return Buffer.concat(blocks).subarray(0, length);
}

/** The records of a datagram, for tests that look at them. */
export function recordsOf(datagram: Buffer, cidLength = 0): Record[] {
  const records: Record[] = [];
  for (let at = 0; at < datagram.length; ) {
    const type = datagram.readUInt8(at);
    const cid = type === 25 ? cidLength : 0;
    const length = datagram.readUInt16BE(at + 11 + cid);
    const begin = at + 13 + cid;
    records.push({
      type,
      version: datagram.readUInt16BE(at + 1),
      epoch: datagram.readUInt16BE(at + 3),
      sequence: datagram.readUIntBE(at + 5, 6),
      cid: datagram.subarray(at + 11, at + 11 + cid),
      header: datagram.subarray(at, begin),
      body: datagram.subarray(begin, begin + length),
    });
    at = begin + length;
  }
  return records;
}

export class Client {
  readonly options: ClientOptions;
  /** What it was told by alerts, `level/description`. */
  readonly alerts: string[] = [];
  /** What it received, as text, and as it came. */
  readonly data: string[] = [];
  readonly raw: Buffer[] = [];
  connected = false;
  resumed = false;
  random: Buffer = randomBytes(32);
  serverCid: Buffer | undefined;
  ems = false;
  renegotiation = false;
  suite = 0;
  sessionId: Buffer = Buffer.alloc(0);
  /** Of the records sent, by epoch. */
  readonly sequences: [number, number] = [0, 0];
  master: Buffer = Buffer.alloc(0);
  #keys: Buffer = Buffer.alloc(0);
  #cookie = Buffer.alloc(0);
  #messageSequence = 0;
  #expected = 0;
  readonly #partials = new Map<number, { type: number; body: Buffer; there: Set<number> }>();
  #transcript: Buffer[] = [];
  #serverRandom: Buffer = Buffer.alloc(0);
  /** The server's certificates, and what it offered. */
  serverChain: Buffer[] = [];
  requested = false;
  #serverPoint: Buffer | undefined;
  /** Messages of the flight that is out: `epoch` 0 or 1, or the ChangeCipherSpec. */
  #flight: (HandshakeMessage | 'ccs')[] = [];

  constructor(options: ClientOptions = {}) {
    this.options = options;
    if (options.resume !== undefined) this.sessionId = options.resume.id;
  }

  get ticket(): Ticket {
    return { id: this.sessionId, master: this.master };
  }

  /** The first flight. */
  start(): Buffer[] {
    this.#flight = [this.#hello()];
    return this.resend();
  }

  /** The flight that is out, once more: a datagram for each record, with fresh record numbers. */
  resend(): Buffer[] {
    return this.#flight.flatMap((item) => {
      if (item === 'ccs') return [this.plain(20, Buffer.from([1]))];
      // a hello's first fragment has its cookie
      const size = Math.max(item.type === 1 ? 90 : 1, this.options.fragment ?? 16_384);
      const out: Buffer[] = [];
      for (let at = 0; at === 0 || at < item.body.length; at += size) {
        const part = item.body.subarray(at, at + size);
        const head = Buffer.concat([
          Buffer.from([item.type]),
          u24(item.body.length),
          u16(item.sequence),
          u24(at),
          u24(part.length),
        ]);
        const fragment = Buffer.concat([head, part]);
        out.push(item.epoch === 0 ? this.plain(22, fragment) : this.seal(22, fragment));
      }
      return out;
    });
  }

  /** A datagram from the server; what the client sends for it. */
  receive(datagram: Buffer): Buffer[] {
    const out: Buffer[] = [];
    for (const record of recordsOf(datagram, this.options.cid?.length ?? 0)) {
      const opened = record.epoch === 0 ? { type: record.type, content: record.body } : this.open(record);
      if (opened === undefined) continue;
      const { type, content } = opened;
      if (type === 21) this.alerts.push(`${content[0]}/${content[1]}`);
      else if (type === 23) {
        this.data.push(content.toString());
        this.raw.push(Buffer.from(content));
      } else if (type === 22) out.push(...this.#fragments(content));
    }
    return out;
  }

  send(text: string): Buffer {
    return this.seal(23, Buffer.from(text));
  }

  plain(type: number, body: Buffer, version = 0xfefd): Buffer {
    const head = Buffer.alloc(11);
    head.writeUInt8(type, 0);
    head.writeUInt16BE(version, 1);
    head.writeUIntBE(this.sequences[0]++, 5, 6);
    return Buffer.concat([head, vec16(body)]);
  }

  /** A record of epoch 1, with the server's connection id where it gave one; `padding`: RFC 9146's zeros. */
  seal(
    type: number,
    content: Buffer,
    { sequence = this.sequences[1]++, padding = 0, cid = this.serverCid } = {},
  ): Buffer {
    const withCid = cid !== undefined && cid.length > 0;
    const text = withCid ? Buffer.concat([content, Buffer.from([type]), Buffer.alloc(padding)]) : content;
    const number = Buffer.concat([u16(1), Buffer.alloc(6)]);
    number.writeUIntBE(sequence, 2, 6);
    const aad = withCid
      ? Buffer.concat([
          Buffer.alloc(8, 255),
          Buffer.from([25, cid.length, 25]),
          u16(0xfefd),
          number,
          cid,
          u16(text.length),
        ])
      : Buffer.concat([number, Buffer.from([type]), u16(0xfefd), u16(text.length)]);
    const nonce = Buffer.concat([this.#keys.subarray(32, 36), number]);
    const [mode, tag] = this.#mode();
    const cipher = createCipheriv(mode as CipherCCMTypes, this.#keys.subarray(0, 16), nonce, { authTagLength: tag });
    cipher.setAAD(aad, { plaintextLength: text.length });
    const sealed = Buffer.concat([number, cipher.update(text), cipher.final(), cipher.getAuthTag()]);
    return Buffer.concat([
      Buffer.from([withCid ? 25 : type]),
      u16(0xfefd),
      number,
      withCid ? cid : Buffer.alloc(0),
      vec16(sealed),
    ]);
  }

  open(record: Record): { type: number; content: Buffer } | undefined {
    const [mode, tag] = this.#mode();
    const end = record.body.length - tag;
    const text = record.body.subarray(8, end);
    const number = record.header.subarray(3, 11);
    const { cid } = record;
    const aad =
      record.type === 25
        ? Buffer.concat([
            Buffer.alloc(8, 255),
            Buffer.from([25, cid.length, 25]),
            u16(0xfefd),
            number,
            cid,
            u16(text.length),
          ])
        : Buffer.concat([number, Buffer.from([record.type]), u16(0xfefd), u16(text.length)]);
    const nonce = Buffer.concat([this.#keys.subarray(36, 40), record.body.subarray(0, 8)]);
    try {
      const decipher = createDecipheriv(mode as CipherCCMTypes, this.#keys.subarray(16, 32), nonce, {
        authTagLength: tag,
      });
      decipher.setAuthTag(record.body.subarray(end));
      decipher.setAAD(aad, { plaintextLength: text.length });
      const content = decipher.update(text);
      decipher.final();
      if (record.type !== 25) return { type: record.type, content };
      const last = content.findLastIndex((byte) => byte !== 0);
      return { type: content[last] ?? 0, content: content.subarray(0, last) };
    } catch {
      return undefined;
    }
  }

  #mode(): [CipherCCMTypes | CipherGCMTypes, number] {
    if (this.suite === suites.gcm || this.suite === certified.gcm) return ['aes-128-gcm', 16];
    return ['aes-128-ccm', this.suite === suites.ccm || this.suite === certified.ccm ? 16 : 8];
  }

  #hello() {
    const { options } = this;
    const renegotiation = options.renegotiation ?? 'scsv';
    const offered = [...(options.suites ?? [suites.ccm8]), ...(renegotiation === 'scsv' ? [0xff] : [])];
    const asksCertificate = offered.some((id) => (Object.values(certified) as number[]).includes(id));
    const extensions = Buffer.concat([
      asksCertificate ? extension(10, vec16(Buffer.concat((options.groups ?? [23]).map(u16)))) : Buffer.alloc(0),
      asksCertificate ? extension(11, Buffer.from([1, 0])) : Buffer.alloc(0),
      asksCertificate
        ? extension(13, vec16(Buffer.concat((options.signatures ?? [0x0403]).map(u16))))
        : Buffer.alloc(0),
      options.ems === false ? Buffer.alloc(0) : extension(23, Buffer.alloc(0)),
      options.cid === undefined ? Buffer.alloc(0) : extension(54, vec8(options.cid)),
      renegotiation === 'extension' ? extension(0xff01, Buffer.from([0])) : Buffer.alloc(0),
      renegotiation === 'bad' ? extension(0xff01, vec8(Buffer.alloc(12))) : Buffer.alloc(0),
      options.supportedVersions === undefined
        ? Buffer.alloc(0)
        : extension(43, vec8(Buffer.concat(options.supportedVersions.map(u16)))),
      options.extra ?? Buffer.alloc(0),
    ]);
    const body = Buffer.concat([
      u16(options.version ?? 0xfefd),
      this.random,
      vec8(options.resume?.id ?? Buffer.alloc(0)),
      vec8(this.#cookie),
      vec16(Buffer.concat(offered.map(u16))),
      vec8(Buffer.from(options.compressions ?? [0])),
      ...(extensions.length === 0 ? [] : [vec16(extensions)]),
    ]);
    return this.#say(1, body);
  }

  #say(type: number, body: Buffer, epoch: 0 | 1 = 0): HandshakeMessage {
    const message = { type, sequence: this.#messageSequence++, body, epoch };
    this.#transcript.push(whole(type, message.sequence, body));
    return message;
  }

  #fragments(content: Buffer): Buffer[] {
    const out: Buffer[] = [];
    for (let at = 0; at + 12 <= content.length; ) {
      const size = content.readUIntBE(at + 9, 3);
      const sequence = content.readUInt16BE(at + 4);
      const length = content.readUIntBE(at + 1, 3);
      if (sequence >= this.#expected) {
        const partial = this.#partials.get(sequence) ?? {
          type: content.readUInt8(at),
          body: Buffer.alloc(length),
          there: new Set<number>(),
        };
        this.#partials.set(sequence, partial);
        const offset = content.readUIntBE(at + 6, 3);
        content.copy(partial.body, offset, at + 12, at + 12 + size);
        for (let n = 0; n < size; n++) partial.there.add(offset + n);
      }
      at += 12 + size;
    }
    for (let next = this.#partials.get(this.#expected); next !== undefined; next = this.#partials.get(this.#expected)) {
      if (next.there.size < next.body.length) break;
      this.#partials.delete(this.#expected);
      out.push(...this.#message(next.type, this.#expected++, next.body));
    }
    return out;
  }

  #message(type: number, sequence: number, body: Buffer): Buffer[] {
    if (type === 3) {
      this.#cookie = Buffer.from(body.subarray(3, 3 + (body[2] ?? 0)));
      this.#transcript = [];
      return this.start();
    }
    if (type === 20) return this.#finished(sequence, body);
    this.#transcript.push(whole(type, sequence, body));
    if (type === 2) this.#serverHello(body);
    if (type === 11) this.#serverCertificate(body);
    if (type === 12) this.#serverKeyExchange(body);
    if (type === 13) this.requested = true;
    if (type !== 14) return [];
    const { certificate } = this.options;
    const chain = Buffer.concat((certificate?.chain ?? []).map(vec24));
    const own = this.requested ? [this.#say(11, vec24(chain))] : [];
    const [exchange, premaster] = this.#keyExchange();
    this.master = this.ems
      ? prf(premaster, 'extended master secret', this.#hash(), 48)
      : prf(premaster, 'master secret', Buffer.concat([this.random, this.#serverRandom]), 48);
    this.#derive();
    const held: HandshakeMessage[] = [];
    if (this.requested && certificate?.key !== undefined) {
      const data = certificate.forged === true ? Buffer.from('other') : Buffer.concat(this.#transcript);
      held.push(this.#say(15, Buffer.concat([u16(0x0403), vec16(sign('sha256', data, certificate.key))])));
    }
    const proof = prf(this.master, 'client finished', this.#hash(), 12);
    if (this.options.badFinished === true) proof[0] = (proof[0] ?? 0) ^ 1;
    const finished = this.#say(20, proof, this.options.clearFinished === true ? 0 : 1);
    this.#flight = [...own, exchange, ...held, 'ccs', finished];
    return this.resend();
  }

  #keyExchange() {
    if (this.#serverPoint !== undefined) {
      const ecdh = createECDH('prime256v1');
      const point = ecdh.generateKeys();
      return [this.#say(16, vec8(point)), ecdh.computeSecret(this.#serverPoint)] as const;
    }
    const { key = Buffer.alloc(16, 7), identity = 'dev' } = this.options;
    const premaster = Buffer.concat([vec16(Buffer.alloc(key.length)), vec16(key)]);
    return [this.#say(16, vec16(Buffer.from(identity))), premaster] as const;
  }

  #serverCertificate(body: Buffer): void {
    for (let at = 3; at < body.length; ) {
      const size = body.readUIntBE(at, 3);
      this.serverChain.push(Buffer.from(body.subarray(at + 3, at + 3 + size)));
      at += 3 + size;
    }
  }

  #serverKeyExchange(body: Buffer): void {
    const end = 4 + (body[3] ?? 0);
    const data = Buffer.concat([this.random, this.#serverRandom, body.subarray(0, end)]);
    const [own = Buffer.alloc(0)] = this.serverChain;
    if (!verify('sha256', data, new X509Certificate(own).publicKey, body.subarray(end + 4)))
      throw new Error('a wrong signature');
    this.#serverPoint = Buffer.from(body.subarray(4, end));
  }

  #serverHello(body: Buffer): void {
    this.#serverRandom = body.subarray(2, 34);
    const idEnd = 35 + (body[34] ?? 0);
    const id = body.subarray(35, idEnd);
    this.resumed = this.options.resume?.id.equals(id) === true;
    this.sessionId = id;
    this.suite = body.readUInt16BE(idEnd);
    for (let at = idEnd + 5; at + 4 <= body.length; ) {
      const type = body.readUInt16BE(at);
      const size = body.readUInt16BE(at + 2);
      if (type === 23) this.ems = true;
      if (type === 54) this.serverCid = Buffer.from(body.subarray(at + 5, at + 4 + size));
      if (type === 0xff01) this.renegotiation = true;
      at += 4 + size;
    }
    if (!this.resumed) return;
    this.master = this.options.resume?.master ?? this.master;
    this.#derive();
  }

  #finished(sequence: number, body: Buffer): Buffer[] {
    if (!prf(this.master, 'server finished', this.#hash(), 12).equals(body)) throw new Error('a wrong Finished');
    this.#transcript.push(whole(20, sequence, body));
    this.connected = true;
    if (!this.resumed) return [];
    this.#flight = ['ccs', this.#say(20, prf(this.master, 'client finished', this.#hash(), 12), 1)];
    return this.resend();
  }

  #derive(): void {
    this.#keys = prf(this.master, 'key expansion', Buffer.concat([this.#serverRandom, this.random]), 40);
  }

  #hash(): Buffer {
    return createHash('sha256').update(Buffer.concat(this.#transcript)).digest();
  }
}

function whole(type: number, sequence: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type]), u24(body.length), u16(sequence), u24(0), u24(body.length), body]);
}
