import { deviceIdOf, filterCovers, filtersOverlap, topicMatches } from '../domain/index.ts';

export type AclAction = 'publish' | 'subscribe';

/** One access rule, as configured. `*` in `user` and `client` is anyone; `%u` and `%c` stand in `topic`. */
export interface AclRule {
  readonly effect: 'allow' | 'deny';
  readonly action: AclAction | 'all';
  readonly user: string;
  /** A deviceID, without `@AppID`. */
  readonly client: string;
  readonly topic: string;
}

/** Who asks. Empty strings: anonymous, and no client id. */
export interface Identity {
  readonly clientId: string;
  readonly username: string;
}

/**
 * Access rules, the first that matches decides; no rule at all allows everything; rules and none that matches deny.
 *
 * A publish matches a rule whose topic matches. A subscription is allowed by a rule that covers the whole filter, and
 * denied by one that overlaps with it, so that a wildcard never reaches around a `deny`.
 */
export class AccessRules {
  #rules: readonly AclRule[];

  constructor(rules: readonly AclRule[]) {
    this.#rules = rules;
  }

  /** Takes the place of all rules: later questions are answered by these. */
  replace(rules: readonly AclRule[]): void {
    this.#rules = rules;
  }

  allows(who: Identity, action: AclAction, topic: string): boolean {
    if (this.#rules.length === 0) return true;
    for (const rule of this.#rules) {
      if (rule.action !== 'all' && rule.action !== action) continue;
      if (rule.user !== '*' && rule.user !== who.username) continue;
      if (rule.client !== '*' && (who.clientId === '' || rule.client !== deviceIdOf(who.clientId))) continue;
      const pattern = fill(rule.topic, who);
      if (pattern === undefined) continue;
      if (concerns(rule.effect, action, pattern, topic)) return rule.effect === 'allow';
    }
    return false;
  }
}

function concerns(effect: AclRule['effect'], action: AclAction, pattern: string, topic: string): boolean {
  if (action === 'publish') return topicMatches(pattern, topic);
  return effect === 'allow' ? filterCovers(pattern, topic) : filtersOverlap(pattern, topic);
}

/** The topic with its placeholders filled, or undefined where a value is missing or would change the pattern. */
function fill(topic: string, who: Identity): string | undefined {
  if (!topic.includes('%')) return topic;
  const device = deviceIdOf(who.clientId);
  if (topic.includes('%u') && !plain(who.username)) return undefined;
  if (topic.includes('%c') && !plain(device)) return undefined;
  return topic.replaceAll('%u', () => who.username).replaceAll('%c', () => device);
}

function plain(value: string): boolean {
  return value !== '' && !/[+#/]/.test(value);
}
