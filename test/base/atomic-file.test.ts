import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { replaceFile } from '../../src/base/index.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-atomic-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('replacing a file', () => {
  it('makes it and its directory, for its owner alone', async () => {
    const path = join(directory, 'new', 'file');
    await replaceFile(path, 'text');
    expect(readFileSync(path, 'utf8')).toBe('text');
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('leaves the old text and nothing else where it fails', async () => {
    const path = join(directory, 'file');
    await replaceFile(path, 'old');
    const prepare = () => Promise.reject(new Error('no space left on device'));
    await expect(replaceFile(path, 'new', { prepare })).rejects.toThrow('no space');
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(directory)).toEqual(['file']);
  });
});
