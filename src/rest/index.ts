/**
 * The REST API: thirteen endpoints, and beside them health, metrics, the API's description and a status page.
 *
 * `routes/` is one table: method, paths, parameters in the order of their checks, shape of the answer, texts of the errors.
 * Dispatch and `/openapi.json` are made from it. A request is checked in this order, and the first that fails answers: path,
 * authorization, body, each parameter wholly, what does not exist. Every answer of the API is `{ code, msg, body }`, the HTTP
 * status is its code; what is not foreseen is 500 `fail`, its cause in the log alone, with Retry-After where the same may
 * succeed later.
 *
 * What the gateway knows is asked through `Queries` (its past) and `Presence` (its present); messages go in through
 * `Publisher`, all of a request or none. Nothing here knows how they work.
 *
 * Bounds: connections, header, body, time of a request, time of an answer, queries at once (others wait, up to a bound). A
 * page of message contents is read row by row as the client takes it; the lists of clients hold a page, and yield to the
 * event loop. Wrong secrets are slowed per address; right ones never are, since they are checked first: nobody can guess
 * them. Passwords can be guessed, so those attempts wait before they are checked, but for a user known to the address.
 *
 * Spaces and bytes above 0x7F in the URL, which node:http does not take, are encoded before it sees them
 * (`request-line.ts`). No CORS; the Host header means nothing; no client is told anything of the inside.
 */
export type { OnlineClient, Presence, Queries, Subscription } from './queries.ts';
export type { ApiIdentity, Publisher } from './route.ts';
export { type HttpLimits, type RestDeps, type RestListen, RestServer } from './server.ts';
export type { StatusSource } from './status-page.ts';
