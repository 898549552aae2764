import { open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { badBlocks, readRecords, Unpacked } from './level-format.ts';

/**
 * LevelDB's own files, as far as is needed to see what it would pass over in silence. It opens without CURRENT as if the
 * directory were empty, and with a list of tables that lacks its end, and deletes every table that is not on its list; it
 * leaves out what a journal has lost. It reads blocks of tables without a look at their checksums, and ends the process
 * where a merge meets keys that are out of order.
 */
export interface Examined {
  /** Why it must not be opened as it is; undefined where it may. */
  readonly unsound: string | undefined;
  /** The newest list of tables, where it is sound and CURRENT alone is not. */
  readonly manifest: string | undefined;
  /** What LevelDB will pass over: of journals that are missing, or damaged before their ends. */
  readonly passedOver: string | undefined;
}

const nothing: Examined = { unsound: undefined, manifest: undefined, passedOver: undefined };

/** Looks through the files of a LevelDB directory that nobody has open. `tables`: every block of the tables, too. */
export async function examine(directory: string, tables: boolean): Promise<Examined> {
  const names = await readdir(directory).catch(() => [] as string[]);
  const has = new Set(names);
  const manifests = names.filter((name) => /^MANIFEST-\d+$/.test(name)).sort((a, b) => numberOf(a) - numberOf(b));
  if (manifests.length === 0 && !names.some((name) => /^\d+\.(log|ldb|sst)$/.test(name)) && !has.has('CURRENT')) {
    return nothing;
  }
  const current = await readFile(join(directory, 'CURRENT'), 'latin1').catch(() => undefined);
  const named = /^(MANIFEST-\d+)\n$/.exec(current ?? '')?.[1];
  const manifest = named !== undefined && has.has(named) ? named : undefined;
  const list = await readList(directory, manifest ?? manifests.at(-1));
  const wrong =
    list === undefined ? 'the list of tables does not read' : await unsoundness(directory, has, list, tables);
  if (manifest === undefined) {
    const unsound = named === undefined ? 'CURRENT is missing or damaged' : `CURRENT names ${named}, which is missing`;
    return { ...nothing, unsound, manifest: wrong === undefined ? manifests.at(-1) : undefined };
  }
  if (list === undefined || wrong !== undefined) return { ...nothing, unsound: wrong };
  return { ...nothing, passedOver: await passedOver(directory, names, list.journal) };
}

interface TableList {
  /** Number of the oldest journal that counts; 0: any. */
  readonly journal: number;
  /** Bytes of each table, by its number. */
  readonly tables: ReadonlyMap<number, number>;
}

async function unsoundness(
  directory: string,
  has: ReadonlySet<string>,
  { journal, tables }: TableList,
  thorough: boolean,
): Promise<string | undefined> {
  const unlisted = [...has].some((name) => /^\d+\.ldb$/.test(name) && !tables.has(numberOf(name)));
  // the journal is deleted only once the list is on the disk in which its table is
  if (journal !== 0 && unlisted && !has.has(nameOf(journal, 'log'))) return 'the list of tables lacks its end';
  const names = [...tables.keys()].map((number) => nameOf(number, 'ldb'));
  const missing = names.find((name) => !has.has(name));
  if (missing !== undefined) return `${missing} is missing`;
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size));
  for (const [index, bytes] of [...tables.values()].entries()) {
    if (sizes[index] !== bytes) return `${names[index]} has ${sizes[index]} bytes in place of ${bytes}`;
  }
  return thorough ? await damaged(directory, names, Math.max(1, ...tables.values())) : undefined;
}

/** The first table of which a block is damaged. One is read while the one before it is looked through. */
async function damaged(directory: string, names: readonly string[], largest: number): Promise<string | undefined> {
  let [free, taken] = [Buffer.allocUnsafeSlow(largest), Buffer.allocUnsafeSlow(names.length > 1 ? largest : 0)];
  let coming = names[0] === undefined ? undefined : readInto(free, join(directory, names[0]));
  for (const [index, name] of names.entries()) {
    const table = await coming;
    [free, taken] = [taken, free];
    const next = names[index + 1];
    coming = next === undefined ? undefined : readInto(free, join(directory, next));
    // it is not waited for where this one is damaged
    coming?.catch(() => undefined);
    if (table !== undefined && badBlocks(table)?.length !== 0) return `${name} is damaged`;
  }
  return undefined;
}

/** The start of `buffer`, with what of the file fits into it. */
async function readInto(buffer: Buffer, path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    let end = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, end, buffer.length - end, end);
      end += bytesRead;
      if (bytesRead === 0 || end === buffer.length) return buffer.subarray(0, end);
    }
  } finally {
    await file.close();
  }
}

const closedName = 'CLOSED';

/** Notes how long the journal is at an orderly end: all of it has to be there at the next start. */
export async function noteClosed(directory: string): Promise<void> {
  const journals = (await readdir(directory)).filter((name) => /^\d+\.log$/.test(name));
  const newest = journals.sort((a, b) => numberOf(a) - numberOf(b)).at(-1);
  if (newest === undefined) return;
  const { size } = await stat(join(directory, newest));
  await writeFile(join(directory, closedName), `${newest} ${size}\n`);
}

/** It is open again. */
export function forgetClosed(directory: string): Promise<void> {
  return rm(join(directory, closedName), { force: true });
}

async function closedJournal(directory: string): Promise<{ readonly name: string; readonly bytes: number }> {
  const text = await readFile(join(directory, closedName), 'latin1').catch(() => '');
  const [, name = '', bytes = '0'] = /^(\d+\.log) (\d+)\n$/.exec(text) ?? [];
  return { name, bytes: Number(bytes) };
}

/** A type that no block has: LevelDB passes over such a block, and says so. */
const noType = 0xff;

/** Has LevelDB pass over the blocks whose checksums are wrong. To be done before a repair, which would take them in. */
export async function spoilBadBlocks(directory: string): Promise<void> {
  for (const name of (await readdir(directory)).filter((one) => /^\d+\.(ldb|sst)$/.test(one))) {
    const path = join(directory, name);
    const bad = badBlocks(await readFile(path)) ?? [];
    if (bad.length === 0) continue;
    const file = await open(path, 'r+');
    try {
      for (const at of bad) await file.write(Buffer.from([noType]), 0, 1, at);
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

/** Bytes of all tables. */
export async function tableBytes(directory: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(directory).catch(() => [])) {
    if (name.endsWith('.ldb')) bytes += (await stat(join(directory, name)).catch(() => ({ size: 0 }))).size;
  }
  return bytes;
}

/** Whether the process that had it open ended while LevelDB merged tables, as its diary tells. */
export async function endedInMerge(directory: string): Promise<boolean> {
  const diary = await readFile(join(directory, 'LOG'), 'latin1').catch(() => '');
  return (
    diary.lastIndexOf(' Compacting ') > Math.max(diary.lastIndexOf(' Compacted '), diary.lastIndexOf('ompaction error'))
  );
}

async function passedOver(directory: string, names: readonly string[], journal: number): Promise<string | undefined> {
  if (journal !== 0 && !names.includes(nameOf(journal, 'log'))) return `${nameOf(journal, 'log')} is missing`;
  const journals = names.filter((name) => /^\d+\.log$/.test(name) && numberOf(name) >= journal);
  const closed = await closedJournal(directory);
  // a note that an earlier end left behind speaks of a journal that has followers
  const ended = journals.every((name) => numberOf(name) <= numberOf(closed.name)) ? closed : undefined;
  if (ended !== undefined && ended.bytes > 0 && !journals.includes(ended.name)) return `${ended.name} is missing`;
  const lost: string[] = [];
  for (const name of journals) {
    const bytes = await readFile(join(directory, name));
    const records = readRecords(bytes);
    const missing = ended?.name === name ? records.tail + Math.max(0, ended.bytes - bytes.length) : 0;
    const dropped = records.dropped + missing;
    if (dropped > 0) lost.push(`${dropped} bytes of ${name} do not read`);
  }
  return lost.length === 0 ? undefined : lost.join(', ');
}

/** What the list of tables says; undefined where it is missing, or damaged before its end. */
async function readList(directory: string, name: string | undefined): Promise<TableList | undefined> {
  if (name === undefined) return undefined;
  const { records, dropped } = readRecords(await readFile(join(directory, name)));
  if (records.length === 0 || dropped > 0) return undefined;
  const tables = new Map<number, number>();
  let journal = 0;
  for (const record of records) {
    const from = new Unpacked(record);
    while (!from.over) {
      const tag = from.number();
      if (tag === 2) journal = from.number();
      else if (tag === 3 || tag === 4 || tag === 9) from.number();
      else if (tag === 1) from.skip();
      else if (tag === 5) {
        from.number();
        from.skip();
      } else if (tag === 6) {
        from.number();
        tables.delete(from.number());
      } else if (tag === 7) {
        from.number();
        tables.set(from.number(), from.number());
        from.skip();
        from.skip();
      } else return undefined;
    }
  }
  return { journal, tables };
}

function numberOf(name: string): number {
  return Number(/\d+/.exec(name)?.[0] ?? 0);
}

function nameOf(number: number, extension: string): string {
  return `${String(number).padStart(6, '0')}.${extension}`;
}
