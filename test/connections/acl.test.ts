import { describe, expect, it } from 'vitest';
import { AccessRules, type AclRule } from '../../src/connections/index.ts';

const rule = (changes: Partial<AclRule>): AclRule => ({
  effect: 'allow',
  action: 'all',
  user: '*',
  client: '*',
  topic: '#',
  ...changes,
});
const ann = { clientId: 'dev1@app', username: 'ann' };
const nobody = { clientId: '', username: '' };

describe('access rules', () => {
  it('allow everything where there is none', () => {
    expect(new AccessRules([]).allows(nobody, 'publish', 'a')).toBe(true);
  });

  it('deny what no rule matches', () => {
    const rules = new AccessRules([rule({ topic: 'a/#' })]);
    expect(rules.allows(ann, 'publish', 'b')).toBe(false);
    expect(rules.allows(ann, 'publish', 'a/b')).toBe(true);
  });

  it('go by the first that matches', () => {
    const rules = new AccessRules([rule({ effect: 'deny', topic: 'a/secret' }), rule({ topic: 'a/#' })]);
    expect(rules.allows(ann, 'publish', 'a/secret')).toBe(false);
    expect(rules.allows(ann, 'publish', 'a/open')).toBe(true);
  });

  it('tell publish and subscribe, users and clients apart', () => {
    const rules = new AccessRules([
      rule({ action: 'publish', user: 'ann', topic: 'up/#' }),
      rule({ action: 'subscribe', client: 'dev1', topic: 'down/#' }),
    ]);
    expect(rules.allows(ann, 'publish', 'up/x')).toBe(true);
    expect(rules.allows(ann, 'subscribe', 'up/x')).toBe(false);
    expect(rules.allows(ann, 'subscribe', 'down/x')).toBe(true);
    expect(rules.allows({ ...ann, username: 'bob' }, 'publish', 'up/x')).toBe(false);
    expect(rules.allows(nobody, 'subscribe', 'down/x')).toBe(false);
  });

  it('fill %u with the user and %c with the deviceID', () => {
    const rules = new AccessRules([rule({ topic: 'u/%u/#' }), rule({ topic: 'c/%c/#' })]);
    expect(rules.allows(ann, 'publish', 'u/ann/x')).toBe(true);
    expect(rules.allows(ann, 'publish', 'c/dev1/x')).toBe(true);
    expect(rules.allows(ann, 'publish', 'c/dev1@app/x')).toBe(false);
    expect(rules.allows(ann, 'publish', 'u/bob/x')).toBe(false);
  });

  it('never let a name with a wildcard or a slash widen a rule', () => {
    const rules = new AccessRules([rule({ topic: 'c/%c/#' })]);
    for (const device of ['+', '#', 'a/b', '']) {
      expect(rules.allows({ clientId: `${device}@app`, username: '' }, 'subscribe', 'c/+/x')).toBe(false);
    }
    expect(rules.allows({ clientId: '$&@app', username: '' }, 'publish', 'c/$&/x')).toBe(true);
  });

  it('refuse a subscription that reaches into a denied topic, and one wider than what is allowed', () => {
    const denied = new AccessRules([rule({ effect: 'deny', topic: 'secret/#' }), rule({})]);
    expect(denied.allows(ann, 'subscribe', '#')).toBe(false);
    expect(denied.allows(ann, 'subscribe', '+/x')).toBe(false);
    expect(denied.allows(ann, 'subscribe', 'open/#')).toBe(true);
    const allowed = new AccessRules([rule({ topic: 'a/+/c' })]);
    expect(allowed.allows(ann, 'subscribe', 'a/b/c')).toBe(true);
    expect(allowed.allows(ann, 'subscribe', 'a/#')).toBe(false);
  });
});
