import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../support/memory-store.ts';
import { makeLog, message, settle } from './support.ts';

const formatKey = Buffer.from('mformat');

/** A store with one message, whose note of the format is as given. */
async function storeOf(format: string): Promise<MemoryStore> {
  const store = new MemoryStore();
  const { log, clock } = makeLog(store);
  await log.start();
  log.append(message('kept'), () => undefined);
  await settle(clock);
  await log.stop();
  await store.open();
  await store.write([{ type: 'put', key: formatKey, value: Buffer.from(format) }], true);
  await store.close();
  return store;
}

describe('the format of the store', () => {
  it('is written with the first start', async () => {
    const store = new MemoryStore();
    await makeLog(store).log.start();
    expect(String(await store.get(formatKey))).toBe('1');
  });

  it('of a later version is refused, with both named, and left as it is', async () => {
    const store = await storeOf('2');
    const refused = makeLog(store);
    await expect(refused.log.start()).rejects.toMatchObject({
      code: 'start_failed',
      message: expect.stringMatching(/format 2\b.*format 1\b/),
    });
    await refused.log.stop();
    await store.open();
    expect(String(await store.get(formatKey))).toBe('2');
  });

  it('that is damaged is no reason to refuse', async () => {
    for (const damaged of ['', '\u0000\u0000', 'x2']) {
      const { log } = makeLog(await storeOf(damaged));
      await log.start();
      expect(log.size.records).toBe(1);
      await log.stop();
    }
  });
});
