import { crc32c } from '../base/index.ts';
import { type Block, blockBytes, blockValue } from './block.ts';
import { codes } from './codes.ts';
import type { CoapResponse } from './message-layer.ts';
import type { Peer } from './peers.ts';
import { type Reply, replyOf } from './reply.ts';

export interface RepresentationDeps {
  readonly maxCount: number;
  readonly maxBytes: number;
  /** Milliseconds since the last use. */
  readonly lifetime: number;
  /** The largest block sent, as SZX. */
  readonly szx: number;
  readonly now: () => number;
  readonly hold: (peer: Peer) => void;
  readonly release: (peer: Peer) => void;
}

/** For whom a response is cut. */
export interface Cut {
  readonly peer: Peer;
  /** The resource's key at that peer; asked for only if there are several blocks. */
  readonly resource: () => string;
  /** The Block2 option of the request. */
  readonly asked: Block | undefined;
  /** Whether a response of one block says so: where the request had a Block2 option. */
  readonly always: boolean;
}

interface Representation {
  readonly peer: Peer;
  readonly response: CoapResponse;
  readonly payload: Uint8Array;
  readonly etag: Uint8Array;
  used: number;
}

/**
 * Cuts large responses and notifications into blocks (RFC 7959 §2.4) and keeps them for the requests that follow,
 * which are matched by peer, method and URI, never by token (§3.3). A newer response of the same resource replaces the
 * older; its ETag tells the client.
 */
export class Representations {
  readonly #deps: RepresentationDeps;
  /** Least recently used first. */
  readonly #kept = new Map<string, Representation>();
  #bytes = 0;

  constructor(deps: RepresentationDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#kept.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The asked block of a response, or its first; keeps the whole if there are others. */
  cut(response: CoapResponse, cut: Cut): Reply {
    const payload = typeof response.payload === 'string' ? Buffer.from(response.payload) : response.payload;
    const szx = Math.min(cut.asked?.szx ?? this.#deps.szx, this.#deps.szx);
    const num = cut.asked?.num ?? 0;
    if ((payload?.length ?? 0) <= blockBytes(szx) && num === 0) {
      return replyOf(response.code, {
        payload,
        contentFormat: response.contentFormat,
        maxAge: response.maxAge,
        etag: response.etag,
        block2: cut.always ? blockValue(0, false, szx) : undefined,
      });
    }
    const body = payload ?? new Uint8Array(0);
    const representation: Representation = {
      peer: cut.peer,
      response,
      payload: body,
      etag: response.etag ?? etagOf(body),
      used: this.#deps.now(),
    };
    this.#keep(cut.resource(), representation);
    return this.#block(representation, num, cut.asked?.szx ?? szx);
  }

  /** A later block of what was kept; undefined if nothing was. */
  serve(peer: Peer, resource: string, asked: Block): Reply | undefined {
    const kept = this.#kept.get(resource);
    if (kept === undefined || kept.peer !== peer) return undefined;
    kept.used = this.#deps.now();
    this.#kept.delete(resource);
    this.#kept.set(resource, kept);
    return this.#block(kept, asked.num, asked.szx);
  }

  /** Forgets what was not used for its lifetime. */
  sweep(now: number): void {
    for (const [resource, { used }] of this.#kept) {
      if (now - used < this.#deps.lifetime) return;
      this.#forget(resource);
    }
  }

  clear(): void {
    for (const resource of [...this.#kept.keys()]) this.#forget(resource);
  }

  /** The block at that number of the client's size, in our size if that is smaller (RFC 7959 §2.4). */
  #block({ response, payload, etag }: Representation, num: number, askedSzx: number): Reply {
    const szx = Math.min(askedSzx, this.#deps.szx);
    const size = blockBytes(szx);
    const start = num * blockBytes(askedSzx);
    if (start >= payload.length) return replyOf(codes.badRequest);
    const end = Math.min(payload.length, start + size);
    return replyOf(response.code, {
      payload: payload.subarray(start, end),
      contentFormat: response.contentFormat,
      maxAge: response.maxAge,
      etag,
      block2: blockValue(start / size, end < payload.length, szx),
      size2: start === 0 ? payload.length : undefined,
    });
  }

  #keep(resource: string, representation: Representation): void {
    this.#forget(resource);
    const { maxBytes, maxCount } = this.#deps;
    if (representation.payload.length > maxBytes) return;
    while (this.#kept.size >= maxCount || this.#bytes + representation.payload.length > maxBytes) {
      const [oldest] = this.#kept.keys();
      if (oldest === undefined) break;
      this.#forget(oldest);
    }
    this.#kept.set(resource, representation);
    this.#bytes += representation.payload.length;
    this.#deps.hold(representation.peer);
  }

  #forget(resource: string): void {
    const kept = this.#kept.get(resource);
    if (kept === undefined) return;
    this.#kept.delete(resource);
    this.#bytes -= kept.payload.length;
    this.#deps.release(kept.peer);
  }
}

function etagOf(payload: Uint8Array): Uint8Array {
  const etag = Buffer.allocUnsafe(8);
  etag.writeUInt32BE(payload.length >>> 0, 0);
  etag.writeUInt32BE(crc32c(payload), 4);
  return etag;
}
