import type { Message, QoS } from '../domain/index.ts';
import { bytesOfId, type Content, clientKey, encodeContent, prefix } from './codec.ts';
import type { Session } from './session.ts';
import { Row } from './write-behind.ts';

const nothing = Buffer.alloc(0);

/** A subscription as it is asked for; `due`: topics of the retained messages that the client is to get for it. */
export interface SubscriptionGiven {
  readonly filter: string;
  readonly qos: QoS;
  readonly due: readonly string[];
}

/** A filter that a session has subscribed to. */
export class SubscriptionRow extends Row {
  readonly session: Session;
  readonly filter: string;
  qos: QoS;
  /** The client has not got all the retained messages that were there when it subscribed. */
  due = false;

  constructor(session: Session, filter: string, qos: QoS) {
    super();
    this.session = session;
    this.filter = filter;
    this.qos = qos;
  }

  override key(): Buffer {
    return clientKey(prefix.subscription, this.session.clientId, Buffer.from(this.filter));
  }

  override value(): Buffer {
    return Buffer.from([this.qos, this.due ? 1 : 0]);
  }
}

/** A message that at least one session waits for; kept once, whatever their number. */
export class ContentRow extends Row {
  readonly content: Content;
  readonly bytes: number;
  readonly waiting = new Set<Session>();

  constructor(content: Content) {
    super();
    this.content = content;
    this.bytes = content.payload.length + content.topic.length + contentOverhead;
  }

  override key(): Buffer {
    return Buffer.concat([Buffer.from(prefix.content), bytesOfId(this.content.id)]);
  }

  override value(): Buffer {
    return encodeContent(this.content);
  }
}

/** What a message is counted as beside topic and payload. */
const contentOverhead = 64;

/** A message in a session's queue: `content` is let go of once a QoS 2 receiver has it and only PUBCOMP is awaited. */
export class EntryRow extends Row {
  readonly session: Session;
  readonly id: bigint;
  readonly qos: QoS;
  content: ContentRow | undefined;
  /** Packet identifier under which it was sent; 0: not yet sent. */
  messageId = 0;
  /** Its identifier is new, and not yet written. */
  fresh = false;
  /** The connection, counted, that it was last handed to. */
  connection = 0;
  /** Handed to aedes from the backlog, not yet come back. */
  drawn = false;

  constructor(session: Session, id: bigint, qos: QoS, content: ContentRow | undefined) {
    super();
    this.session = session;
    this.id = id;
    this.qos = qos;
    this.content = content;
  }

  override key(): Buffer {
    return clientKey(prefix.queued, this.session.clientId, bytesOfId(this.id));
  }

  override value(): Buffer {
    return Buffer.from([this.qos, this.content === undefined ? 1 : 0, this.messageId >> 8, this.messageId & 255]);
  }
}

/** A packet identifier of a QoS 2 PUBLISH that awaits its PUBREL. */
export class IncomingRow extends Row {
  readonly clientId: string;
  readonly messageId: number;

  constructor(clientId: string, messageId: number) {
    super();
    this.clientId = clientId;
    this.messageId = messageId;
  }

  override key(): Buffer {
    return clientKey(prefix.incoming, this.clientId, Buffer.from([this.messageId >> 8, this.messageId & 255]));
  }

  override value(): Buffer {
    return nothing;
  }
}

/** What a client leaves to be published when it vanishes. */
export class WillRow extends Row {
  readonly clientId: string;
  readonly will: Pick<Message, 'topic' | 'payload' | 'qos' | 'retain' | 'username'>;
  /** The connection that it belongs to; none after a restart. */
  readonly owner: object | undefined;

  constructor(clientId: string, will: WillRow['will'], owner: object | undefined) {
    super();
    this.clientId = clientId;
    this.will = will;
    this.owner = owner;
  }

  override key(): Buffer {
    return clientKey(prefix.will, this.clientId);
  }

  override value(): Buffer {
    const { payload, ...rest } = this.will;
    return Buffer.from(JSON.stringify({ ...rest, payload: Buffer.from(payload).toString('base64') }));
  }
}

/** Messages below this log id have been queued for all who were to get them. */
export class WatermarkRow extends Row {
  at = 0n;

  override key(): Buffer {
    return Buffer.from(prefix.watermark);
  }

  override value(): Buffer {
    return bytesOfId(this.at);
  }
}
