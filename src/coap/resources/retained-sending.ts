import type { Subscription } from './subscription.ts';
import type { MessageSource } from './subscription-deps.ts';

/**
 * Sends what `subscription.due` names, one after the other, so that the bounded queue of the endpoint does not overflow, each as
 * it is by then, and calls `done` behind the last. Where the observation ends before, the rest is still due.
 */
export function sendRetained(source: MessageSource, subscription: Subscription, done: () => void): void {
  const { due } = subscription;
  if (due.length === 0) return;
  const next = () => {
    for (let [topic] = due; topic !== undefined; [topic] = due) {
      const message = source.retained.get(topic);
      const sent = () => {
        due.shift();
        next();
      };
      if (message !== undefined) {
        subscription.send(message, message.id, sent);
        return;
      }
      due.shift();
    }
    done();
  };
  next();
}
