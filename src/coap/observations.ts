import type { ObservationEnd, ObserveOptions } from './message-layer.ts';
import type { Peer } from './peers.ts';
import { type Registration, Relation, type RelationDeps, type RelationRegistry } from './relation.ts';
import { sequenceAt } from './sequence.ts';

/** All observations, by peer and token. RFC 7641. */
export class Observations implements RelationRegistry {
  readonly #deps: RelationDeps;
  readonly #byPeer = new Map<Peer, Map<string, Relation>>();
  #size = 0;

  constructor(deps: RelationDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#size;
  }

  /** Takes an observation; it is silent until `activate`. Undefined at a bound. */
  add(registration: Registration, options: ObserveOptions): Relation | undefined {
    const former = this.find(registration.peer, registration.token);
    return this.#take(registration, options, former?.sequence ?? sequenceAt(this.#deps.wall()), former);
  }

  /** Takes up an observation that was there before, after `sequence`; its client waits for no answer. Undefined at a bound. */
  resume(registration: Registration, options: ObserveOptions, sequence: number): Relation | undefined {
    const former = this.find(registration.peer, registration.token);
    const relation = this.#take(registration, options, sequence, former);
    relation?.release();
    relation?.doubt();
    return relation;
  }

  #take(
    registration: Registration,
    options: ObserveOptions,
    sequence: number,
    former: Relation | undefined,
  ): Relation | undefined {
    const { maxObservations, maxObservationsPerEndpoint } = this.#deps.options;
    if (former === undefined) {
      if (this.#size >= maxObservations) return undefined;
      if ((this.#byPeer.get(registration.peer)?.size ?? 0) >= maxObservationsPerEndpoint) return undefined;
    }
    const relation = new Relation(this, this.#deps, registration, options, sequence);
    if (former !== undefined) this.finish(former, 'replaced');
    this.enter(relation);
    return relation;
  }

  find(peer: Peer, token: Uint8Array): Relation | undefined {
    return this.#byPeer.get(peer)?.get(tokenText(token));
  }

  /** An RST arrived that was not for a CON: it ends the observation whose NON it answers. */
  reset(peer: Peer, messageId: number): boolean {
    let hit: Relation | undefined;
    for (const relation of this.#byPeer.get(peer)?.values() ?? []) {
      if (relation.sentNon(messageId) && relation.lastNon > (hit?.lastNon ?? -1)) hit = relation;
    }
    if (hit !== undefined) this.finish(hit, 'reset');
    return hit !== undefined;
  }

  /** Ends all observations of a peer that does not answer, or all there are. */
  endAll(reason: ObservationEnd, peer?: Peer): void {
    const relations = peer === undefined ? [...this.#byPeer.values()] : [this.#byPeer.get(peer) ?? new Map()];
    for (const one of relations) for (const relation of [...one.values()]) this.finish(relation, reason);
  }

  /** Removes a relation and what it had waiting, and tells its owner. Again: nothing. */
  finish(relation: Relation, reason: ObservationEnd): void {
    if (relation.ended) return;
    relation.ended = true;
    this.leave(relation);
    for (const outgoing of this.#deps.outbox.withdraw(relation.peer, relation)) outgoing.settled('ended');
    relation.onEnd(reason);
  }

  enter(relation: Relation): void {
    let relations = this.#byPeer.get(relation.peer);
    if (relations === undefined) {
      relations = new Map();
      this.#byPeer.set(relation.peer, relations);
    }
    relations.set(tokenText(relation.token), relation);
    this.#size += 1;
    this.#deps.peers.hold(relation.peer);
  }

  leave(relation: Relation): void {
    const relations = this.#byPeer.get(relation.peer);
    if (!relations?.delete(tokenText(relation.token))) return;
    if (relations.size === 0) this.#byPeer.delete(relation.peer);
    this.#size -= 1;
    this.#deps.peers.release(relation.peer);
  }
}

function tokenText(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.length).toString('latin1');
}
