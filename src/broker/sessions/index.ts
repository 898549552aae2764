export type { Content as QueuedContent } from './codec.ts';
export { defaultSessionLimits, type SessionDeps, type SessionLimits, type SessionLog } from './options.ts';
export { type EntryRow as QueuedMessage, WillRow } from './rows.ts';
export { logBrokerId, type Session } from './session.ts';
export { Sessions } from './sessions.ts';
export { type NumberedSource, SessionStore } from './store.ts';
