import type {
  ConnectLink,
  Link,
  LinkEvents,
  LinkLimits,
  LinkSession,
  LinkTarget,
} from '../../../src/upstream/index.ts';

type Outgoing = Parameters<Link['publish']>[0];

export interface Sent {
  readonly packet: Outgoing;
  readonly done: (code: number) => void;
}

export const session = (limits: Partial<LinkLimits> = {}, given: Partial<LinkSession> = {}): LinkSession => ({
  protocol: '5',
  sessionPresent: false,
  limits: {
    receiveMaximum: 65_535,
    maximumPacketSize: Number.POSITIVE_INFINITY,
    maximumQos: 2,
    retain: true,
    ...limits,
  },
  ...given,
});

/** A link that notes what is sent and acknowledges when told. */
export class FakeLink implements Link {
  readonly target: LinkTarget | undefined;
  readonly events: LinkEvents | undefined;
  readonly sent: Sent[] = [];
  readonly filters: string[] = [];
  ended: string | undefined;
  /** Acknowledge at once. */
  eager = false;

  constructor(target?: LinkTarget, events?: LinkEvents) {
    this.target = target;
    this.events = events;
  }

  publish(packet: Outgoing, done: (code: number) => void): void {
    this.sent.push({ packet, done });
    if (this.eager || packet.qos === 0) done(0);
  }

  subscribe(filters: readonly { readonly filter: string }[], done: (granted: readonly number[]) => void): void {
    this.filters.push(...filters.map(({ filter }) => filter));
    done(filters.map(() => 1));
  }

  disconnect(): void {
    this.abort('disconnected');
  }

  abort(reason: string): void {
    if (this.ended !== undefined) return;
    this.ended = reason;
    this.events?.down({ reason, dialect: undefined, code: undefined });
  }

  /** The broker closes the connection. */
  close(): void {
    if (this.ended !== undefined) return;
    this.ended = 'closed';
    this.events?.down({ reason: 'connection closed by the broker', dialect: undefined, code: undefined, closed: true });
  }

  ack(at: number, code = 0): void {
    this.sent[at]?.done(code);
  }

  get payloads(): readonly string[] {
    return this.sent.map(({ packet }) => Buffer.from(packet.payload).toString());
  }
}

/** A link factory that notes the links it made. */
export function fakeConnector(): { readonly links: FakeLink[]; readonly connect: ConnectLink } {
  const links: FakeLink[] = [];
  return {
    links,
    connect: (target, events) => {
      const link = new FakeLink(target, events);
      links.push(link);
      return link;
    },
  };
}
