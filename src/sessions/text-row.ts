import { clientKey } from './codec.ts';
import { Row } from './write-behind.ts';

/** What an edge keeps of a client, by a name of its own; `text` says at each write what that is. */
export class TextRow extends Row {
  readonly #kind: string;
  readonly #name: string;
  text: () => string;

  /** `kind`: first byte of the key. */
  constructor(kind: string, name: string, text: () => string) {
    super();
    this.#kind = kind;
    this.#name = name;
    this.text = text;
  }

  override key(): Buffer {
    return clientKey(this.#kind, this.#name);
  }

  override value(): Buffer {
    return Buffer.from(this.text());
  }
}
