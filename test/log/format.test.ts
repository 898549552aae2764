import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../support/memory-store.ts';
import { makeLog, message, settle } from './support.ts';

const formatKey = Buffer.from('mformat');
const formatAgainKey = Buffer.from('mformat2');

/** A store with one message, whose notes of the format are as given. */
async function storeOf(format: string, again = format): Promise<MemoryStore> {
  const store = new MemoryStore();
  const { log, clock } = makeLog(store);
  await log.start();
  log.append(message('kept'), () => undefined);
  await settle(clock);
  await log.stop();
  await store.open();
  await store.write(
    [
      { type: 'put', key: formatKey, value: Buffer.from(format) },
      { type: 'put', key: formatAgainKey, value: Buffer.from(again) },
    ],
    true,
  );
  await store.close();
  return store;
}

describe('the format of the store', () => {
  it('is written with the first start', async () => {
    const store = new MemoryStore();
    await makeLog(store).log.start();
    expect(String(await store.get(formatKey))).toBe('2');
  });

  it('of a later version is refused, with both named, and left as it is', async () => {
    const store = await storeOf('3');
    const refused = makeLog(store);
    await expect(refused.log.start()).rejects.toMatchObject({
      code: 'later_format',
      message: expect.stringMatching(/format 3\b.*format 2\b/),
    });
    await refused.log.stop();
    await store.open();
    expect(String(await store.get(formatKey))).toBe('3');
  });

  it('that is damaged is no reason to refuse', async () => {
    for (const [damaged, again] of [
      ['', ''],
      ['\u0000\u0000', '2'],
      ['x2', 'x2'],
      ['3', '2'],
      ['2', '3'],
    ] as const) {
      const { log } = makeLog(await storeOf(damaged, again));
      await log.start();
      expect(log.size.records).toBe(1);
      await log.stop();
    }
  });
});
