import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PskFile } from '../../src/connections/index.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-psk-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const path = () => join(directory, 'psk.toml');
const hex = '00112233445566778899aabbccddeeff';

describe('the file of pre-shared keys', () => {
  it('has keys by identity, is nobody else’s to read, and is TOML', async () => {
    const file = new PskFile(path());
    expect(await file.load()).toEqual(new Set());
    expect(await file.add('a.b', hex.toUpperCase())).toBe(hex);
    const made = await file.add('pump');
    expect(made).toMatch(/^[0-9a-f]{32}$/);
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    expect(parse(readFileSync(path(), 'utf8'))).toEqual({ psk: { 'a.b': { key: hex }, pump: { key: made } } });
    expect(await file.list()).toEqual(['a.b', 'pump']);
    await file.load();
    expect([file.keyOf('a.b')?.toString('hex'), file.keyOf('nobody'), file.size]).toEqual([hex, undefined, 2]);
  });

  it('says which keys hold no more once it is read again, and wipes them', async () => {
    const daemon = new PskFile(path());
    const command = new PskFile(path());
    for (const name of ['stays', 'goes', 'changes']) await command.add(name, hex);
    await daemon.load();
    const old = daemon.keyOf('goes');
    await command.remove('goes');
    await command.remove('changes');
    await command.add('changes');
    await command.add('comes');
    expect(await daemon.load()).toEqual(new Set(['goes', 'changes']));
    expect(old).toEqual(Buffer.alloc(16));
    expect(daemon.keyOf('stays')?.toString('hex')).toBe(hex);
  });

  it('refuses names and keys that are none, one that is there, and one that is not', async () => {
    const file = new PskFile(path());
    for (const name of ['', 'a b', 'x'.repeat(65), 'ü', '../x']) {
      await expect(file.add(name, hex)).rejects.toMatchObject({ code: 'bad_request' });
    }
    for (const bad of ['', 'xyz', hex.slice(2), `${hex}0`, hex.repeat(5)]) {
      const refused = await file.add('a', bad).catch((thrown: Error) => thrown.message);
      expect(refused).toBe('a key has 16 to 64 bytes, in hexadecimal');
    }
    await file.add('a', hex);
    await expect(file.add('a', hex)).rejects.toThrow('there already');
    await expect(file.remove('b')).rejects.toThrow('no identity "b"');
  });

  it.each([
    ['key = "00"', 1],
    ['[psk.a]\nkey = "0011"', 2],
    [`[psk.a]\nkey = "${hex}"\nkey = "${hex}"`, 3],
    [`[psk.a]\n[psk.b]\nkey = "${hex}"`, 2],
    [`[psk.a]\nkey = "${hex}"\n[psk.a]`, 3],
    [`[users.a]\nkey = "${hex}"`, 1],
    ['[psk.a]', undefined],
  ])('that is damaged is refused with the line, never with what stands there: %j', async (text, line) => {
    const file = new PskFile(path());
    writeFileSync(path(), `[psk.before]\nkey = "${hex}"\n`);
    await file.load();
    writeFileSync(path(), text);
    const refused = await file.load().catch((thrown: Error) => thrown);
    if (!(refused instanceof Error)) throw new Error('it was taken');
    expect(refused.message.startsWith(line === undefined ? `${path()}: ` : `${path()}:${line}: `)).toBe(true);
    expect(refused.message).not.toContain('0011');
    // what was read before goes on to hold
    expect(file.keyOf('before')?.toString('hex')).toBe(hex);
  });

  it('that cannot be read is told of', async () => {
    await expect(new PskFile(directory).load()).rejects.toMatchObject({ code: 'bad_configuration' });
  });
});
