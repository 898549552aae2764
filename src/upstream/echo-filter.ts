import { crc32c } from '../base/index.ts';

const lifetime = 10_000;

/**
 * Recognises our own messages when an MQTT 3.1.1 broker sends them back to a subscription of ours. Each one sent is
 * remembered for ten seconds and answers for one echo; at most `limit` are remembered, the oldest forgotten first.
 */
export class EchoFilter {
  readonly #limit: number;
  readonly #sent = new Map<string, { count: number; at: number }>();

  constructor(limit = 4_096) {
    this.#limit = limit;
  }

  /** `topic` as the broker knows it; `now` in monotonic milliseconds. */
  sent(topic: string, payload: Uint8Array, now: number): void {
    const key = keyOf(topic, payload);
    const count = (this.#fresh(key, now)?.count ?? 0) + 1;
    this.#sent.delete(key);
    this.#sent.set(key, { count, at: now });
    if (this.#sent.size > this.#limit) {
      for (const oldest of this.#sent.keys()) {
        this.#sent.delete(oldest);
        break;
      }
    }
  }

  /** Whether this is one of ours come back. */
  isEcho(topic: string, payload: Uint8Array, now: number): boolean {
    const key = keyOf(topic, payload);
    const sent = this.#fresh(key, now);
    if (sent === undefined) return false;
    sent.count -= 1;
    if (sent.count === 0) this.#sent.delete(key);
    return true;
  }

  #fresh(key: string, now: number): { count: number; at: number } | undefined {
    const sent = this.#sent.get(key);
    return sent !== undefined && now - sent.at <= lifetime ? sent : undefined;
  }
}

function keyOf(topic: string, payload: Uint8Array): string {
  return `${crc32c(payload)} ${payload.length} ${topic}`;
}
