import { HoldfastError } from '../base/index.ts';
import type { Input, Output } from './deps.ts';

const maxLine = 4_096;

/**
 * On a terminal asks (`twice`, unless stated) and shows nothing; else the first line of the input.
 * @throws HoldfastError `bad_request` where there is none, or the two differ.
 */
export async function readPassword(
  stdin: Input,
  stderr: Output,
  what = 'password',
  { twice = true } = {},
): Promise<string> {
  const lines = new Lines(stdin);
  if (stdin.isTTY !== true || stdin.setRawMode === undefined) {
    const line = await lines.next(false);
    if (line === undefined || line === '') throw new HoldfastError('bad_request', `no ${what} on standard input`);
    return line;
  }
  stdin.setRawMode(true);
  try {
    stderr.write(`${what.charAt(0).toUpperCase()}${what.slice(1)}: `);
    const first = await lines.next(true);
    if (twice) stderr.write('\nAgain: ');
    const second = twice ? await lines.next(true) : first;
    stderr.write('\n');
    if (first === undefined || first === '') throw new HoldfastError('bad_request', `no ${what}`);
    if (first !== second) throw new HoldfastError('bad_request', `the two ${what}s differ`);
    return first;
  } finally {
    stdin.setRawMode(false);
  }
}

/** Lines of an input that go on where the last one ended; with `keys`, as a terminal in raw mode gives them. */
class Lines {
  readonly #chunks: AsyncIterator<string | Uint8Array>;
  readonly #decoder = new TextDecoder();
  #rest = '';

  constructor(input: Input) {
    this.#chunks = input[Symbol.asyncIterator]();
  }

  async next(keys: boolean): Promise<string | undefined> {
    for (;;) {
      const end = /\r\n|\r|\n/.exec(this.#rest);
      if (keys && this.#rest.slice(0, end?.index).includes('\u0003')) {
        throw new HoldfastError('bad_request', 'interrupted');
      }
      if (end !== null) {
        const line = this.#rest.slice(0, end.index);
        this.#rest = this.#rest.slice(end.index + end[0].length);
        return keys ? edited(line) : line;
      }
      if (this.#rest.length > maxLine) throw new HoldfastError('bad_request', 'the password is too long');
      const chunk = await this.#chunks.next();
      if (chunk.done === true) return this.#rest === '' ? undefined : this.#rest;
      this.#rest += typeof chunk.value === 'string' ? chunk.value : this.#decoder.decode(chunk.value, { stream: true });
    }
  }
}

/** The line as it was meant: backspace takes a character, Ctrl-U all, other control characters are nothing. */
function edited(keys: string): string {
  const line: string[] = [];
  for (const key of keys) {
    if (key === '\u007f' || key === '\b') line.pop();
    else if (key === '\u0015') line.length = 0;
    else if (key >= ' ') line.push(key);
  }
  return line.join('');
}
