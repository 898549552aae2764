import { describe, expect, it } from 'vitest';
import { ClockWatch } from '../../src/gateway/clock-quality.ts';
import { FakeClock } from '../support/fake-clock.ts';

const there = '/run/systemd/timesync';
const synchronized = `${there}/synchronized`;

describe('the wall clock', () => {
  it.each([
    ['in 1970', 1_000, [], 'unsynced'],
    ['in 2024', Date.UTC(2024, 11, 31), [there, synchronized], 'unsynced'],
    ['in 2026, nobody there who would set it', Date.UTC(2026, 0, 1), [], 'synced'],
    ['in 2026, not yet set since the start', Date.UTC(2026, 0, 1), [there], 'unsynced'],
    ['in 2026, set', Date.UTC(2026, 0, 1), [there, synchronized], 'synced'],
  ])('%s: %#', (_when, wall, files, quality) => {
    expect(new ClockWatch(new FakeClock(wall), (path) => files.includes(path)).quality).toBe(quality);
  });

  it('is believed from the moment on at which it is set, and asked about once a second at most', () => {
    const clock = new FakeClock(Date.UTC(2026, 0, 1));
    const files = [there];
    let asked = 0;
    const watch = new ClockWatch(clock, (path) => {
      asked += 1;
      return files.includes(path);
    });
    for (let n = 0; n < 10; n++) expect(watch.quality).toBe('unsynced');
    expect(asked).toBe(2);
    files.push(synchronized);
    clock.advance(1_000);
    expect(watch.quality).toBe('synced');
    files.length = 1;
    clock.advance(10_000);
    expect([watch.quality, asked]).toEqual(['synced', 4]);
    clock.step(-3 * 365 * 86_400_000);
    expect(watch.quality).toBe('unsynced');
  });
});
