/**
 * The ground that every part stands on: time, errors, units, lifecycle, back-off, checksum, texts.
 *
 * Imports nothing of ours. `clock.ts` is the only file with real timers and real time; `errors.ts` is the catalogue of
 * every error that crosses a part's surface.
 */
export { type AtomicFileOptions, makeDirectory, replaceFile, syncDirectory } from './atomic-file.ts';
export { Backoff, type BackoffOptions } from './backoff.ts';
export { type Clock, systemClock, type Timer } from './clock.ts';
export { crc32c } from './crc32c.ts';
export { type ErrorCode, errorCatalogue, HoldfastError, reasonOf } from './errors.ts';
export { type Service, ServiceStack, type StopFailure, startStep } from './lifecycle.ts';
export { driving, hostAndPort } from './text.ts';
export { formatDuration, formatSize, parseDuration, parseSize } from './units.ts';
