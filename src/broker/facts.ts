import type { Client } from 'aedes';
import type { ConnectionFacts, Network, QoS } from '../domain/index.ts';

/** What the CONNECT asked for that aedes does not keep. */
export interface ConnectRequest {
  /** Seconds. */
  readonly keepalive: number;
  /** Whether a session was asked for without a client id to find it by. */
  readonly nameless: boolean;
}

/** A stream that says over which kind of listener it came. */
export interface NetworkStream {
  readonly network?: Network;
  /** The common name in the client's certificate, where that is who it is; '' where there is none in it. */
  readonly identity?: string | undefined;
}

/** What is known of an MQTT client's connection. */
export function factsOf(
  client: Client,
  who: { readonly clientId: string; readonly username: string },
  asked: ConnectRequest | undefined,
): Omit<ConnectionFacts, 'connection'> {
  const { version, _will } = client as unknown as { readonly version: number; readonly _will?: Will | null };
  return {
    clientId: who.clientId,
    username: who.username,
    network: (client.conn as NetworkStream).network ?? 'tcp',
    address: addressOf(client),
    version,
    keepalive: asked?.keepalive ?? 0,
    clean: client.clean,
    will: _will ? { topic: _will.topic, qos: _will.qos, retain: _will.retain } : undefined,
  };
}

interface Will {
  readonly topic: string;
  readonly qos: QoS;
  readonly retain: boolean;
}

/** Address and port of the peer, as people write it; empty where it is gone. */
export function addressOf(client: Client): string {
  const host = hostOf(client);
  if (host === '') return '';
  const { remotePort } = client.conn as Peer;
  return host.includes(':') ? `[${host}]:${remotePort}` : `${host}:${remotePort}`;
}

/** IP address of the peer; empty where it is gone. */
export function hostOf(client: Client): string {
  return (client.conn as Peer).remoteAddress ?? '';
}

interface Peer {
  readonly remoteAddress?: string;
  readonly remotePort?: number;
}
