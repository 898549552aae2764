import { HoldfastError } from '../../src/base/index.ts';
import type { CliDeps } from '../../src/cli/index.ts';
import type { GatewayEvents, GatewayTarget } from '../../src/client/index.ts';

type Received = Parameters<GatewayEvents['received']>[0];

/** A gateway that is played: what it is told is kept, what it says is given. */
export class PlayedGateway {
  readonly targets: GatewayTarget[] = [];
  readonly told: string[] = [];
  readonly payloads: Buffer[] = [];
  /** The next attempts to connect that fail. */
  readonly refusals: HoldfastError[] = [];
  /** Filters that are not granted. */
  readonly refused: string[] = [];
  /** What becomes of a publish. */
  published: 'acknowledged' | 'never answered' | HoldfastError = 'acknowledged';
  #events: GatewayEvents | undefined;

  readonly connect: CliDeps['connect'] = async (target, events) => {
    this.targets.push(target);
    const refusal = this.refusals.shift();
    if (refusal !== undefined) throw refusal;
    this.#events = events;
    return {
      publish: async ({ topic, payload, qos, retain }) => {
        this.told.push(`publish ${topic} ${qos}${retain ? ' retained' : ''}`);
        this.payloads.push(payload);
        if (this.published instanceof HoldfastError) throw this.published;
        if (this.published === 'never answered') await new Promise(() => undefined);
      },
      subscribe: async (filters, qos) => {
        this.told.push(`subscribe ${filters.join(' ')} ${qos}`);
        return filters
          .filter((filter) => this.refused.includes(filter))
          .map((filter) => ({ filter, reason: 'refused' }));
      },
      close: async () => void this.told.push('close'),
    };
  };

  get target(): GatewayTarget | undefined {
    return this.targets.at(-1);
  }

  send(message: Omit<Received, 'payload'> & { readonly payload: string | Buffer }): Promise<void> | undefined {
    return this.#events?.received({ ...message, payload: Buffer.from(message.payload) });
  }

  miss(reason: string): void {
    this.#events?.missed(new HoldfastError('unavailable', reason));
  }

  lose(reason: string): void {
    this.#events?.lost(new HoldfastError('unavailable', reason));
  }
}
