import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * A disk as it is after a power cut, from what it held before and a trace of `layer.c`.
 *
 * Bytes of a file are on it once an fsync that began behind their writing has ended; of later ones some may be.
 * A directory entry (created, renamed, unlinked) is on it once an fsync of its directory has ended. Of the others, those up
 * to some moment are: file systems that write their directories through a journal keep the order.
 */

/** What is left of bytes that were not fsynced: the first of them; those and zeros behind; or any of their pages. */
export type Tail = 'torn' | 'zeros' | 'pages';

/** What a directory holds: files and directories by their paths in it. */
export type Tree = ReadonlyMap<string, Buffer | 'directory'>;

const page = 4_096;

/** A change of a file: `bytes` written at `at`, or cut to the length `at`. */
interface Change {
  readonly at: number;
  readonly bytes?: Buffer;
}

class File {
  readonly #before: Buffer;
  readonly #changes: Change[] = [];
  #fsynced = 0;

  constructor(before: Buffer) {
    this.#before = before;
  }

  change(change: Change): void {
    this.#changes.push(change);
  }

  /** An fsync begins; returns what is to be called at its end. */
  fsync(): () => void {
    const all = this.#changes.length;
    return () => {
      this.#fsynced = Math.max(this.#fsynced, all);
    };
  }

  get written(): Buffer {
    return applied(this.#before, this.#changes);
  }

  left(random: () => number, tail: Tail): Buffer {
    const sure = applied(this.#before, this.#changes.slice(0, this.#fsynced));
    const rest = this.#changes.slice(this.#fsynced);
    if (rest.length === 0) return sure;
    // any of the changes, the last one of them in part
    const kept = rest.slice(0, Math.floor(random() * (rest.length + 1)));
    const last = kept.at(-1);
    if (last?.bytes !== undefined && random() < 0.5) {
      kept[kept.length - 1] = { at: last.at, bytes: last.bytes.subarray(0, Math.floor(random() * last.bytes.length)) };
    }
    const torn = applied(sure, kept);
    if (tail === 'torn') return torn;
    const whole = applied(sure, rest);
    if (whole.length <= sure.length) return torn;
    const left = Buffer.from(whole);
    if (tail === 'zeros') return left.fill(0, Math.max(sure.length, Math.min(torn.length, whole.length)));
    for (let at = sure.length; at < left.length; at = (Math.floor(at / page) + 1) * page) {
      if (random() < 0.5) left.fill(0, at, Math.min(left.length, (Math.floor(at / page) + 1) * page));
    }
    return left;
  }
}

function applied(before: Buffer, changes: readonly Change[]): Buffer {
  let length = before.length;
  let most = length;
  for (const { at, bytes } of changes) {
    length = bytes === undefined ? at : Math.max(length, at + bytes.length);
    most = Math.max(most, length);
  }
  const all = Buffer.alloc(most);
  before.copy(all);
  let end = before.length;
  for (const { at, bytes } of changes) {
    if (bytes !== undefined) bytes.copy(all, at);
    else all.fill(0, at);
    end = bytes === undefined ? at : Math.max(end, at + bytes.length);
  }
  return all.subarray(0, end);
}

/**
 * What an fsync of a file does for its name. `all`: its own entry, and those above it, are on the disk too, as ext4, XFS,
 * Btrfs and F2FS have it. `journals`: only an fsync of the directory brings an entry there, which is all that POSIX promises,
 * but for LevelDB's journals. LevelDB counts on that: it begins a journal, fsyncs what is written to it, and leaves the
 * directory alone until the next table is made.
 */
export type EntriesOnFsync = 'all' | 'journals';

/** What has a name: a file, or a directory. */
type Named = File | 'directory';

interface EntryChange {
  readonly how: 'created' | 'renamed' | 'removed';
  readonly path: string;
  readonly to: string;
  readonly what: Named;
  fsynced: boolean;
}

interface Descriptor {
  readonly path: string;
  readonly what: Named;
  ends: (() => void) | undefined;
}

/** A disk, and what a process did to it. */
export class TracedDisk {
  readonly #before: ReadonlyMap<string, Named>;
  readonly #now: Map<string, Named>;
  readonly #entries: EntryChange[] = [];
  readonly #descriptors = new Map<number, Descriptor>();
  readonly #onFsync: EntriesOnFsync;
  #cutAt = '';

  private constructor(before: ReadonlyMap<string, Named>, entries: EntriesOnFsync) {
    this.#before = before;
    this.#now = new Map(before);
    this.#onFsync = entries;
  }

  /** What was below `directory` before, and what the trace says of it. */
  static from(before: Tree, trace: Buffer, entries: EntriesOnFsync) {
    const named = new Map<string, Named>();
    for (const [path, what] of before) named.set(path, what === 'directory' ? what : new File(what));
    const disk = new TracedDisk(named, entries);
    for (let at = 0; at < trace.length; ) {
      const length = trace.readUInt32LE(at + 16);
      const kind = String.fromCharCode(trace.readUInt8(at));
      const body = trace.subarray(at + 20, at + 20 + length);
      disk.#take(kind, trace.readUInt8(at + 1), trace.readInt32LE(at + 4), Number(trace.readBigInt64LE(at + 8)), body);
      at += 20 + length;
    }
    return disk;
  }

  /** The operation at which the power went, and on what; empty where the process ended by itself. */
  get cutAt(): string {
    return this.#cutAt;
  }

  /** All that was written, as a process that reads it now finds it. */
  get written(): Tree {
    return new Map([...this.#now].map(([path, what]) => [path, what === 'directory' ? what : what.written]));
  }

  /** What a power cut now may leave. */
  left(random: () => number, tail: Tail): Tree {
    const pending = this.#entries.filter((entry) => !entry.fsynced);
    const [some, part] = [random(), random()];
    const kept = some < 0.3 ? 0 : some < 0.5 ? pending.length : Math.floor(part * (pending.length + 1));
    const lost = new Set(pending.slice(kept));
    const names = new Map(this.#before);
    for (const entry of this.#entries) {
      const { how, path, to, what } = entry;
      if (lost.has(entry)) continue;
      if (how === 'created') names.set(path, what);
      else if (names.get(path) === what) names.delete(path);
      if (how !== 'renamed') continue;
      names.set(to, what);
      moveBelow(names, path, to);
    }
    const left = new Map<string, Buffer | 'directory'>();
    for (const [path, what] of [...names].sort(([one], [other]) => (one < other ? -1 : 1))) {
      // what lies in a directory that was lost is lost with it
      if (path.includes('/') && left.get(dirname(path)) !== 'directory') continue;
      left.set(path, what === 'directory' ? what : what.left(random, tail));
    }
    return left;
  }

  #take(kind: string, flags: number, fd: number, offset: number, body: Buffer): void {
    const path = body.toString();
    switch (kind) {
      case 'X':
        this.#cutAt = path;
        break;
      case 'O':
        this.#open(path, fd, flags);
        break;
      case 'M':
        this.#created(path, 'directory');
        break;
      case 'U':
      case 'D':
        this.#removed(path);
        break;
      case 'R':
        this.#renamed(path);
        break;
      default:
        this.#onDescriptor(kind, fd, offset, body);
    }
  }

  #open(path: string, fd: number, flags: number): void {
    if (this.#descriptors.has(fd)) throw new Error(`${path} is opened under a descriptor in use: a close was not seen`);
    if ((flags & 1) !== 0) this.#created(path, new File(Buffer.alloc(0)));
    const what = path === '' ? 'directory' : this.#now.get(path);
    if (what === undefined) throw new Error(`${path} is opened, and nothing was seen that made it`);
    if ((flags & 2) !== 0 && what !== 'directory') what.change({ at: 0 });
    this.#descriptors.set(fd, { path, what, ends: undefined });
  }

  #onDescriptor(kind: string, fd: number, offset: number, body: Buffer): void {
    const descriptor = this.#descriptors.get(fd);
    if (descriptor === undefined) throw new Error(`${kind} of a descriptor that was never opened`);
    const { what } = descriptor;
    if (kind === 'W' && what !== 'directory') what.change({ at: offset, bytes: body });
    if (kind === 'T' && what !== 'directory') what.change({ at: offset });
    if (kind === 'S') descriptor.ends = this.#fsync(descriptor);
    if (kind === 's') descriptor.ends?.();
    if (kind === 'C') this.#descriptors.delete(fd);
  }

  #fsync({ path, what }: Descriptor): () => void {
    const ends = what === 'directory' ? undefined : what.fsync();
    const covered = what === 'directory' ? this.#entriesIn(path || '.') : this.#entriesOf(what);
    return () => {
      ends?.();
      for (const entry of covered) entry.fsynced = true;
    };
  }

  #entriesIn(directory: string): EntryChange[] {
    return this.#entries.filter(({ path, to }) => dirname(path) === directory || dirname(to) === directory);
  }

  /** What an fsync of the file brings to the disk: what gave it its name, and the directories above it theirs. */
  #entriesOf(file: File): EntryChange[] {
    const own = this.#entries.filter(({ what, how }) => what === file && how !== 'removed');
    if (this.#onFsync === 'journals') return own.filter(({ path }) => path.endsWith('.log'));
    const above = new Set<string>();
    for (const { path } of own) for (let at = dirname(path); at !== '.'; at = dirname(at)) above.add(at);
    return [...own, ...this.#entries.filter(({ what, path }) => what === 'directory' && above.has(path))];
  }

  #created(path: string, what: Named): void {
    this.#now.set(path, what);
    this.#entries.push({ how: 'created', path, to: path, what, fsynced: false });
  }

  #removed(path: string): void {
    const what = this.#now.get(path);
    if (what === undefined) throw new Error(`${path} is unlinked, and nothing was seen that made it`);
    this.#now.delete(path);
    this.#entries.push({ how: 'removed', path, to: path, what, fsynced: false });
  }

  #renamed(both: string): void {
    const [path = '', to = ''] = both.split('\0');
    const what = this.#now.get(path);
    if (what === undefined) throw new Error(`${path} is renamed, and nothing was seen that made it`);
    this.#now.delete(path);
    this.#now.set(to, what);
    moveBelow(this.#now, path, to);
    this.#entries.push({ how: 'renamed', path, to, what, fsynced: false });
  }
}

/** What lies in a directory goes with it. */
function moveBelow(names: Map<string, Named>, path: string, to: string): void {
  for (const [below, what] of [...names]) {
    if (!below.startsWith(`${path}/`)) continue;
    names.delete(below);
    names.set(to + below.slice(path.length), what);
  }
}

/** What is below a directory. */
export async function readTree(directory: string): Promise<Tree> {
  const tree = new Map<string, Buffer | 'directory'>();
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    tree.set(path.slice(directory.length + 1), entry.isDirectory() ? 'directory' : await readFile(path));
  }
  return tree;
}

/** Makes a directory with a tree in it, whose directories come before what they hold. */
export async function writeTree(directory: string, tree: Tree): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const [path, what] of tree) {
    if (what === 'directory') await mkdir(join(directory, path), { recursive: true });
    else await writeFile(join(directory, path), what);
  }
}
