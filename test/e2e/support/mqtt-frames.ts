/** One MQTT packet as it stood on the wire. `type`: 1 CONNECT, 2 CONNACK, 3 PUBLISH, 4 PUBACK, 5 PUBREC, 7 PUBCOMP. */
export interface Frame {
  readonly type: number;
  readonly qos: number;
  /** What follows the fixed header. */
  readonly body: Buffer;
}

export interface PublishFrame {
  readonly topic: string;
  readonly id: number;
  readonly payload: string;
}

/** Finds the packets in a stream, whatever pieces it comes in. */
export class Framer {
  #rest: Buffer = Buffer.alloc(0);

  /** The packets that are complete with `chunk`. */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    let rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (let size = sizeOf(rest); size !== undefined && rest.length >= size.total; size = sizeOf(rest)) {
      const first = rest[0] ?? 0;
      frames.push({ type: first >> 4, qos: (first >> 1) & 3, body: rest.subarray(size.header, size.total) });
      rest = rest.subarray(size.total);
    }
    this.#rest = rest;
    return frames;
  }

  /** How many bytes of `chunk` end in the middle of the first packet that begins in it; undefined where none does. */
  middle(chunk: Buffer): number | undefined {
    let at = 0;
    if (this.#rest.length > 0) {
      const both = Buffer.concat([this.#rest, chunk]);
      const size = sizeOf(both);
      if (size === undefined || both.length <= size.total) return undefined;
      at = size.total - this.#rest.length;
    }
    const size = sizeOf(chunk.subarray(at));
    if (size === undefined) return undefined;
    return Math.min(at + Math.max(1, Math.floor(size.total / 2)), chunk.length);
  }
}

function sizeOf(bytes: Buffer): { header: number; total: number } | undefined {
  const length = varint(bytes, 1);
  return length === undefined ? undefined : { header: length.next, total: length.next + length.value };
}

function varint(bytes: Buffer, from: number): { value: number; next: number } | undefined {
  let value = 0;
  for (let at = from; at < bytes.length && at < from + 4; at++) {
    const byte = bytes[at] ?? 0;
    value += (byte & 0x7f) * 128 ** (at - from);
    if (byte < 0x80) return { value, next: at + 1 };
  }
  return undefined;
}

/** The protocol level that a CONNECT asks for, without the bit of a bridge. */
export function levelOf({ body }: Frame): number {
  return (body[2 + body.readUInt16BE(0)] ?? 0) & 0x7f;
}

/** `five`: the connection speaks MQTT 5, where properties stand before the payload. */
export function readPublish({ body, qos }: Frame, five: boolean): PublishFrame {
  const end = 2 + body.readUInt16BE(0);
  let at = end;
  const id = qos === 0 ? 0 : body.readUInt16BE(at);
  if (qos > 0) at += 2;
  if (five) {
    const properties = varint(body, at);
    if (properties !== undefined) at = properties.next + properties.value;
  }
  return { topic: body.toString('utf8', 2, end), id, payload: body.toString('utf8', at) };
}

/** Packet identifier and reason code of an acknowledgement; 3.1.1 has no code, which is success. */
export function readAck({ body }: Frame): { readonly id: number; readonly code: number } {
  return { id: body.readUInt16BE(0), code: body[2] ?? 0 };
}
