import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UsersFile } from '../../src/connections/index.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-users-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const path = () => join(directory, 'users.toml');
const users = () => new UsersFile(path(), { cost: 16 });

describe('the users file', () => {
  it('checks passwords, and remembers those found right', async () => {
    const file = users();
    await file.add('ann', 'right');
    expect(file.verifyCached('ann', 'right')).toBeUndefined();
    expect(await file.verify('ann', 'wrong')).toBe('wrong');
    expect(file.verifyCached('ann', 'wrong')).toBeUndefined();
    expect(await file.verify('bob', 'right')).toBe('unknown');
    expect(await file.verify('ann', 'right')).toBe('ok');
    expect(file.verifyCached('ann', 'right')).toBe('ok');
  });

  it('can take as long as a check for a name that is not there, at the cost of those that are', async () => {
    const file = new UsersFile(path(), { cost: 16_384 });
    const time = async (run: () => Promise<unknown>) => {
      let least = Number.POSITIVE_INFINITY;
      for (let n = 0; n < 5; n++) {
        // of this process: how busy the machine is does not count
        const begun = process.cpuUsage();
        await run();
        const { user, system } = process.cpuUsage(begun);
        least = Math.min(least, user + system);
      }
      return least;
    };
    await file.pretend('x');
    await file.add('ann', 'right');
    const check = await time(() => file.verify('ann', 'wrong'));
    const pretended = await time(() => file.pretend('wrong'));
    expect(pretended).toBeGreaterThan(check / 3);
    expect(pretended).toBeLessThan(check * 3);
    // no check of a name that is there takes time for this either
    expect(await time(() => file.pretend('x'.repeat(2_000)))).toBeLessThan(check / 3);
  });

  it('forgets a password that was changed or removed elsewhere, once told', async () => {
    const daemon = users();
    const command = users();
    await command.add('a.b', 'one');
    await command.add('other', 'one');
    expect(await daemon.load()).toEqual(new Set());
    expect(await daemon.verify('a.b', 'one')).toBe('ok');
    await command.setPassword('a.b', 'two');
    expect(await daemon.load()).toEqual(new Set(['a.b']));
    expect(daemon.verifyCached('a.b', 'one')).toBeUndefined();
    expect(await daemon.verify('a.b', 'one')).toBe('wrong');
    expect(await daemon.verify('a.b', 'two')).toBe('ok');
    await command.remove('a.b');
    expect(await daemon.load()).toEqual(new Set(['a.b']));
    expect(await daemon.load()).toEqual(new Set());
    expect(await daemon.verify('a.b', 'two')).toBe('unknown');
  });

  it('has a stamp for each password, the same in every run, also where the same one is given again', async () => {
    await users().add('ann', 'x');
    const [first, again] = [users(), users()];
    await Promise.all([first.load(), again.load()]);
    expect(first.stampOf('ann')).toMatch(/^[\w-]{16}$/);
    expect(again.stampOf('ann')).toBe(first.stampOf('ann'));
    await users().setPassword('ann', 'x');
    await again.load();
    expect(again.stampOf('ann')).not.toBe(first.stampOf('ann'));
    expect(again.stampOf('bob')).toBe('');
  });

  it('is replaced whole, readable by its owner alone, without the password', async () => {
    const file = users();
    await Promise.all(['c', 'a', 'b'].map((name) => file.add(name, 'hush')));
    expect(await file.list()).toEqual(['a', 'b', 'c']);
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    expect(readFileSync(path(), 'utf8')).not.toContain('hush');
    expect(readdirSync(directory)).toEqual(['users.toml']);
  });

  it.runIf(process.getuid?.() === 0)('stays the daemon’s when root changes it', async () => {
    chownSync(directory, 12_345, 12_346);
    await users().add('ann', 'x');
    expect(statSync(path())).toMatchObject({ uid: 12_345, gid: 12_346 });
    chownSync(path(), 54_321, 54_322);
    await users().add('bob', 'x');
    expect(statSync(path())).toMatchObject({ uid: 54_321, gid: 54_322 });
  });

  it('is TOML, whatever the names', async () => {
    const file = users();
    const names = ['ann', '007', 'a.b', '-', '_', '...', '__proto__', 'x'.repeat(64)];
    for (const name of names) await file.add(name, 'x');
    const read = parse(readFileSync(path(), 'utf8')).users as Record<string, { hash: string }>;
    expect(Object.keys(read).sort()).toEqual([...names].sort());
    for (const name of names) {
      expect(Object.getOwnPropertyDescriptor(read, name)?.value.hash).toMatch(/^scrypt\$/);
      expect(await file.verify(name, 'x')).toBe('ok');
    }
  });

  it('makes hashes that say how they were made', async () => {
    await new UsersFile(path()).add('ann', 'x');
    expect(readFileSync(path(), 'utf8')).toMatch(/\[users\.ann\]\nhash = "scrypt\$16384\$8\$1\$[\w-]+\$[\w-]+"\n/);
  });

  it.each(['', 'a b', 'ü', 'a/b', 'x'.repeat(65), '"]\n[users.root'])('refuses the name %j', async (name) => {
    await expect(users().add(name, 'x')).rejects.toMatchObject({ code: 'bad_request' });
  });

  it('refuses what cannot be done', async () => {
    const file = users();
    await file.add('ann', 'x');
    const attempts = [
      () => file.add('ann', 'y'),
      () => file.add('bob', ''),
      () => file.remove('bob'),
      () => file.setPassword('bob', 'x'),
    ];
    for (const attempt of attempts) await expect(attempt()).rejects.toMatchObject({ code: 'bad_request' });
  });

  it.each([
    '[users.ann]\n',
    'hash = "x"\n',
    '[users.ann]\nhash = "plain"\n',
    '[users.ann]\nhash = "scrypt$1073741824$8$1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"\n',
    '[users.ann\n',
  ])('that is damaged is refused whole: %j', async (text) => {
    const file = users();
    await file.add('bob', 'x');
    writeFileSync(path(), text);
    await expect(file.load()).rejects.toMatchObject({ code: 'bad_configuration' });
    expect(await file.verify('bob', 'x')).toBe('ok');
  });

  it('bounds what waits, and checks the same pair once', async () => {
    const file = new UsersFile(path(), { cost: 1_024 });
    await file.add('ann', 'right');
    const same = await Promise.all(Array.from({ length: 5_000 }, () => file.verify('ann', 'right')));
    expect(same.every((one) => one === 'ok')).toBe(true);
    const results = await Promise.allSettled(Array.from({ length: 1_100 }, (_, n) => file.verify('ann', `${n}`)));
    const refused = results.filter((one) => one.status === 'rejected');
    expect(refused).toHaveLength(98);
    expect(refused[0]).toMatchObject({ reason: { code: 'overloaded' } });
  });
});
