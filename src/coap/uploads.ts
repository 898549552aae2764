import { type Block, blockBytes, blockValue } from './block.ts';
import { codes } from './codes.ts';
import type { CoapOptions } from './options.ts';
import type { Peer } from './peers.ts';
import { type Reply, replyOf } from './reply.ts';

export interface UploadDeps {
  readonly options: CoapOptions;
  /** The largest block asked for, as SZX. */
  readonly szx: number;
  readonly hold: (peer: Peer) => void;
  readonly release: (peer: Peer) => void;
}

/** A block of a request body. */
export interface UploadBlock {
  readonly peer: Peer;
  /** Peer, method, URI options and Request-Tag: RFC 7959 §2.5, RFC 9175 §3.3. Not the token: libcoap changes it. */
  readonly resource: string;
  readonly block: Block;
  readonly payload: Uint8Array;
  /** The Size1 option. */
  readonly size: number | undefined;
  /** Monotonic milliseconds. */
  readonly now: number;
}

/** `body`: the request is whole, to be answered with `block1` in the response. Otherwise `reply` is the answer. */
export type UploadStep =
  | { readonly body: Buffer; readonly block1: number; readonly reply: undefined }
  | { readonly body: undefined; readonly reply: Reply };

interface Upload {
  readonly peer: Peer;
  buffer: Buffer;
  length: number;
  used: number;
}

/** While that recent, an upload is not given up in favour of another; milliseconds. */
const busy = 5_000;

/** Reassembles Block1 uploads, RFC 7959 §2.5. */
export class Uploads {
  readonly #deps: UploadDeps;
  /** Least recently used first. */
  readonly #open = new Map<string, Upload>();
  #bytes = 0;

  constructor(deps: UploadDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Bytes allocated for uploads. */
  get bytes(): number {
    return this.#bytes;
  }

  accept(part: UploadBlock): UploadStep {
    const { block, payload, resource } = part;
    const { maxPayload } = this.#deps.options;
    const start = block.num * blockBytes(block.szx);
    const end = start + payload.length;
    if (end > maxPayload || (part.size ?? 0) > maxPayload) {
      this.#forget(resource);
      return refuse(codes.requestEntityTooLarge, { size1: maxPayload });
    }
    if (payload.length > blockBytes(block.szx) || (block.more && payload.length !== blockBytes(block.szx))) {
      this.#forget(resource);
      return refuse(codes.badRequest);
    }
    const block1 = blockValue(block.num, block.more, Math.min(block.szx, this.#deps.szx));
    if (block.num === 0) {
      // Block 0 starts over (§2.5).
      this.#forget(resource);
      if (!block.more) return { body: Buffer.from(payload), block1, reply: undefined };
      if (!this.#begin(part)) return refuse(codes.serviceUnavailable, { maxAge: 1 });
    }
    const upload = this.#open.get(resource);
    if (upload === undefined || !this.#append(upload, part, start, end)) {
      this.#forget(resource);
      return refuse(codes.requestEntityIncomplete);
    }
    this.#open.delete(resource);
    this.#open.set(resource, upload);
    upload.used = part.now;
    if (block.more) return { body: undefined, reply: replyOf(codes.continue, { block1 }) };
    this.#forget(resource);
    return { body: upload.buffer.subarray(0, upload.length), block1, reply: undefined };
  }

  /** Forgets uploads without a block for the idle time. */
  sweep(now: number): void {
    for (const [resource, { used }] of this.#open) {
      if (now - used < this.#deps.options.uploadIdle) return;
      this.#forget(resource);
    }
  }

  clear(): void {
    for (const resource of [...this.#open.keys()]) this.#forget(resource);
  }

  /** Whether there is room for one more. One that has been idle for a while gives way. */
  #begin({ peer, resource, payload, now }: UploadBlock): boolean {
    const { maxUploads, maxUploadsPerEndpoint } = this.#deps.options;
    if (peer.uploads >= maxUploadsPerEndpoint) return false;
    const capacity = Math.max(256, 4 * payload.length);
    if (this.#open.size >= maxUploads && !this.#giveUpOldest(now)) return false;
    if (!this.#makeRoom(capacity, now)) return false;
    this.#open.set(resource, { peer, buffer: Buffer.allocUnsafeSlow(capacity), length: 0, used: now });
    this.#bytes += capacity;
    peer.uploads += 1;
    this.#deps.hold(peer);
    return true;
  }

  /** Adds a block that is next, or compares one that is there already; false for a gap or other bytes. */
  #append(upload: Upload, part: UploadBlock, start: number, end: number): boolean {
    if (start > upload.length) return false;
    if (start < upload.length) {
      return end <= upload.length && part.block.more && upload.buffer.subarray(start, end).equals(part.payload);
    }
    if (end > upload.buffer.length) {
      const capacity = Math.min(this.#deps.options.maxPayload, Math.max(end, 2 * upload.buffer.length));
      if (!this.#makeRoom(capacity - upload.buffer.length, part.now, upload)) return false;
      this.#bytes += capacity - upload.buffer.length;
      const larger = Buffer.allocUnsafeSlow(capacity);
      upload.buffer.copy(larger, 0, 0, upload.length);
      upload.buffer = larger;
    }
    upload.buffer.set(part.payload, start);
    upload.length = end;
    return true;
  }

  #makeRoom(bytes: number, now: number, except?: Upload): boolean {
    while (this.#bytes + bytes > this.#deps.options.maxUploadBytes) if (!this.#giveUpOldest(now, except)) return false;
    return true;
  }

  #giveUpOldest(now: number, except?: Upload): boolean {
    for (const [resource, upload] of this.#open) {
      if (upload === except || now - upload.used < busy) return false;
      this.#forget(resource);
      return true;
    }
    return false;
  }

  #forget(resource: string): void {
    const upload = this.#open.get(resource);
    if (upload === undefined) return;
    this.#open.delete(resource);
    this.#bytes -= upload.buffer.length;
    upload.peer.uploads -= 1;
    this.#deps.release(upload.peer);
  }
}

function refuse(code: number, parts: { size1?: number; maxAge?: number } = {}): UploadStep {
  return { body: undefined, reply: replyOf(code, parts) };
}
