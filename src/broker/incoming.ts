import type { Client } from 'aedes';
import type { Sessions } from '../sessions/index.ts';

type Done = (error?: Error | null) => void;

interface ClientInside {
  /** Identifiers that await PUBREL; aedes takes out what was released. */
  readonly _inboundInflight: Set<number>;
}

/**
 * The receiver's side of QoS 2. An identifier is noted, on disk where the client has a session, once its message is logged
 * and before PUBREC; a PUBLISH that comes again is answered and not logged again. Where it comes by another connection of
 * the session while the first is still on its way to the disk, it waits for that one.
 */
export class IncomingHandshakes {
  readonly #sessions: Sessions;
  readonly #max: number;
  /** By client id and identifier: who waits for a message of a session to be logged. */
  readonly #underWay = new Map<string, Done[]>();

  /** `max`: of one connection. */
  constructor(sessions: Sessions, max: number) {
    this.#sessions = sessions;
    this.#max = max;
  }

  /** Has `publish` log the message unless it was; an error from `done` ends the connection, and nothing was logged. */
  receive(client: Client, messageId: number, publish: (done: Done) => void, done: Done): void {
    if (this.#sessions.hasIncoming(client.id, messageId)) {
      done(null);
      return;
    }
    const { _inboundInflight: held } = client as unknown as ClientInside;
    if (!held.has(messageId) && held.size >= this.#max) {
      done(new Error(`more than ${this.#max} messages of QoS 2 that are not released`));
      return;
    }
    held.add(messageId);
    if (client.clean) {
      publish((error) => {
        if (error) done(error);
        // its handshakes have ended with it
        else if (!client.closed) this.#note(client.id, messageId, done);
      });
      return;
    }
    const key = `${messageId} ${client.id}`;
    const waiting = this.#underWay.get(key);
    if (waiting !== undefined) {
      waiting.push(done);
      return;
    }
    const all = [done];
    this.#underWay.set(key, all);
    const finish: Done = (error) => {
      this.#underWay.delete(key);
      for (const one of all) one(error);
    };
    publish((error) => (error ? finish(error) : this.#note(client.id, messageId, finish)));
  }

  #note(clientId: string, messageId: number, done: Done): void {
    this.#sessions.addIncoming(clientId, messageId).then(
      () => done(null),
      (thrown: Error) => done(thrown),
    );
  }
}
