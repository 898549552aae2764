import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ZonedTime } from '../../src/rest/zoned-time.ts';

const shanghai = new ZonedTime('Asia/Shanghai');
const berlin = new ZonedTime('Europe/Berlin');
const utc = (text: string) => Date.parse(`${text}Z`);

describe('a time of a zone', () => {
  it('is written with and without milliseconds', () => {
    expect(shanghai.withMillis(1_630_146_189_718)).toBe('2021-08-28 18:23:09.718');
    expect(shanghai.inSeconds(1_630_146_189_718)).toBe('2021-08-28 18:23:09');
    expect(berlin.withMillis(0)).toBe('1970-01-01 01:00:00.000');
    expect(new ZonedTime('Asia/Kathmandu').inSeconds(utc('2024-01-01T00:00:00'))).toBe('2024-01-01 05:45:00');
  });

  it('is read: whole seconds end a window with their last millisecond', () => {
    const from = utc('2021-08-28T10:23:09');
    expect(shanghai.parse('2021-08-28 18:23:09')).toMatchObject({ from, to: from + 999 });
    expect(shanghai.parse('2021-08-28 18:23:09.000')).toMatchObject({ from, to: from });
    expect(shanghai.parse('2021-08-28 18:23:09.718')).toMatchObject({ from: from + 718, to: from + 718 });
  });

  it.each([
    '',
    '2021-08-28',
    '2021-08-28T18:23:09',
    '2021-08-28 18:23',
    '2021-8-28 18:23:09',
    '2021-02-29 00:00:00',
    '2021-04-31 00:00:00',
    '2021-13-01 00:00:00',
    '2021-00-01 00:00:00',
    '2021-08-28 24:00:00',
    '2021-08-28 23:60:00',
    '2021-08-28 23:59:60',
    '2021-08-28 18:23:09.7',
    '2021-08-28 18:23:09.7181',
    ' 2021-08-28 18:23:09',
    '2021-08-28 18:23:09\n',
    '２021-08-28 18:23:09',
  ])('is none: %j', (text) => {
    expect(shanghai.parse(text)).toBeUndefined();
  });

  it('takes the 29th of February where there is one, and the year 0001', () => {
    expect(shanghai.parse('2024-02-29 00:00:00')?.from).toBe(utc('2024-02-28T16:00:00'));
    expect(new ZonedTime('UTC').parse('0001-01-01 00:00:00')?.from).toBe(Date.parse('0001-01-01T00:00:00Z'));
  });

  it('that the clocks show twice begins a window with the first, and ends it with the second', () => {
    // 2024-10-27: 03:00 summer time is 02:00 winter time
    const twice = berlin.parse('2024-10-27 02:30:00');
    expect(twice).toMatchObject({ from: utc('2024-10-27T00:30:00'), to: utc('2024-10-27T01:30:00') + 999 });
    expect(berlin.parse('2024-10-27 01:59:59')).toMatchObject({ from: utc('2024-10-26T23:59:59') });
    expect(berlin.parse('2024-10-27 03:00:00')).toMatchObject({ from: utc('2024-10-27T02:00:00') });
  });

  it('that the clocks skip begins a window with the jump, and ends it before', () => {
    // 2024-03-31: 02:00 is 03:00
    const jump = utc('2024-03-31T01:00:00');
    for (const text of ['2024-03-31 02:00:00', '2024-03-31 02:30:00', '2024-03-31 02:59:59.999']) {
      expect(berlin.parse(text)).toMatchObject({ from: jump, to: jump - 1 });
    }
    expect(berlin.parse('2024-03-31 03:00:00')).toMatchObject({ from: jump });
    expect(berlin.parse('2024-03-31 01:59:59')).toMatchObject({ to: jump - 1 });
    // a whole day was skipped here
    expect(new ZonedTime('Pacific/Apia').parse('2011-12-30 12:00:00')).toMatchObject({
      from: utc('2011-12-30T10:00:00'),
      to: utc('2011-12-30T10:00:00') - 1,
    });
  });

  it('is read back as it was written, in any zone, at any time', () => {
    const zones = ['Asia/Shanghai', 'Europe/Berlin', 'America/St_Johns', 'Australia/Lord_Howe', 'Pacific/Apia', 'UTC'];
    const made = new Map(zones.map((zone) => [zone, new ZonedTime(zone)]));
    fc.assert(
      fc.property(fc.constantFrom(...zones), fc.integer({ min: 0, max: 4e12 }), (zone, instant) => {
        const times = made.get(zone) as ZonedTime;
        const read = times.parse(times.withMillis(instant));
        expect(read).toBeDefined();
        expect([read?.from, read?.to]).toContain(instant);
      }),
      { numRuns: 2_000 },
    );
  });

  it('is written fast enough for the largest page', () => {
    const begun = performance.now();
    for (let n = 0; n < 100_000; n++) shanghai.withMillis(1.7e12 + n * 1_000);
    expect(performance.now() - begun).toBeLessThan(2_000);
  });
});
