/** Message ids: 64 bits = boot number (24) · position in that boot (40). No clock in them. */

const positionBits = 40n;

/** Positions per boot; boot numbers run from 1 to 2^24 - 1. */
export const maxPosition = 2 ** 40 - 1;
export const maxBoot = 2 ** 24 - 1;

export function makeMessageId(boot: number, position: number): bigint {
  return (BigInt(boot) << positionBits) | BigInt(position);
}

export function bootOf(id: bigint): number {
  return Number(id >> positionBits);
}

export function positionOf(id: bigint): number {
  return Number(id & 0xffffffffffn);
}

/** 16 upper-case hexadecimal digits, as every interface shows it. */
export function formatMessageId(id: bigint): string {
  return id.toString(16).toUpperCase().padStart(16, '0');
}

/** The id in `text`, or undefined where that is not 16 hexadecimal digits in upper case. */
export function parseMessageId(text: string): bigint | undefined {
  return /^[0-9A-F]{16}$/.test(text) ? BigInt(`0x${text}`) : undefined;
}
