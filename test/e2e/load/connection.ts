import { createConnection, type Socket } from 'node:net';

export type QoS = 0 | 1 | 2;

/** What a client does with what it is sent. */
export interface Handlers {
  connected(): void;
  packet(type: number, flags: number, body: Buffer): void;
  /** The connection is over, not by `leave`, and another is tried. */
  lost(): void;
}

const retry = { least: 100, spread: 200 };

/** An MQTT client over reconnects that costs as little as it can: packets are made and read by hand, answers gathered. */
export class Connection {
  readonly #port: number;
  readonly #connect: Buffer;
  readonly #handlers: Handlers;
  #socket: Socket | undefined;
  #rest: Buffer | undefined;
  #gathered: Buffer[] = [];
  #wanted = true;
  #back: number | undefined;
  /** Whether CONNACK has come. */
  up = false;

  constructor(port: number, clientId: string, clean: boolean, handlers: Handlers) {
    this.#port = port;
    this.#connect = packetOf(0x10, Buffer.from([0, 4, 77, 81, 84, 84, 4, clean ? 2 : 0, 0, 0]), textOf(clientId));
    this.#handlers = handlers;
  }

  open(): void {
    if (!this.#wanted) return;
    const socket = createConnection({ port: this.#port, host: '127.0.0.1', noDelay: true });
    this.#socket = socket;
    this.#rest = undefined;
    socket.on('error', () => undefined);
    socket.on('connect', () => socket.write(this.#connect));
    socket.on('data', (data) => this.#read(data));
    socket.on('close', () => {
      this.#socket = undefined;
      this.#gathered = [];
      const wasUp = this.up;
      this.up = false;
      if (wasUp) this.#handlers.lost();
      const back = this.#back ?? retry.least + Math.random() * retry.spread;
      this.#back = undefined;
      if (this.#wanted) setTimeout(() => this.open(), back);
    });
  }

  /** Sends with all else of this turn. */
  send(packet: Buffer): void {
    if (!this.up) return;
    this.#gathered.push(packet);
    if (this.#gathered.length === 1) setImmediate(() => this.#flush());
  }

  /** Ends the connection, with DISCONNECT or without a word; another follows `back` milliseconds after its end. */
  leave(politely: boolean, back?: number): void {
    this.#flush();
    this.up = false;
    this.#wanted = back !== undefined;
    this.#back = back;
    const socket = this.#socket;
    socket?.removeAllListeners('data').resume();
    if (politely) socket?.end(Buffer.from([0xe0, 0]));
    else socket?.destroy();
  }

  #flush(): void {
    const gathered = this.#gathered;
    this.#gathered = [];
    if (gathered.length > 0 && this.up) this.#socket?.write(Buffer.concat(gathered));
  }

  #read(read: Buffer): void {
    const data = this.#rest === undefined ? read : Buffer.concat([this.#rest, read]);
    let at = 0;
    while (at < data.length) {
      const found = frameAt(data, at);
      if (found === undefined) break;
      const first = data[at] ?? 0;
      at = found.end;
      const body = data.subarray(found.body, found.end);
      if (first >> 4 !== 2) this.#handlers.packet(first >> 4, first & 15, body);
      else if (body[1] === 0) {
        this.up = true;
        this.#handlers.connected();
      }
    }
    this.#rest = at < data.length ? data.subarray(at) : undefined;
  }
}

function frameAt(data: Buffer, at: number): { readonly body: number; readonly end: number } | undefined {
  let length = 0;
  for (let body = at + 1, shift = 0; ; shift += 7) {
    const byte = data[body];
    if (byte === undefined) return undefined;
    length |= (byte & 127) << shift;
    body += 1;
    if (byte < 128) return body + length > data.length ? undefined : { body, end: body + length };
  }
}

export function packetOf(first: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  if (body.length > 127) throw new Error('a packet of more than 127 bytes');
  return Buffer.concat([Buffer.from([first, body.length]), body]);
}

export function textOf(text: string): Buffer {
  return Buffer.concat([idOf(Buffer.byteLength(text)), Buffer.from(text)]);
}

export function idOf(messageId: number): Buffer {
  return Buffer.from([messageId >> 8, messageId & 255]);
}

/** PUBACK 0x40, PUBREC 0x50, PUBREL 0x62, PUBCOMP 0x70. */
export function answerOf(first: number, messageId: number): Buffer {
  return packetOf(first, idOf(messageId));
}
