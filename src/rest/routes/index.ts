import type { Route } from '../route.ts';
import { messageRoutes } from './messages.ts';
import { presenceRoutes } from './presence.ts';
import { publishRoutes } from './publish.ts';
import { recordRoutes } from './records.ts';
import { tokenRoutes } from './tokens.ts';

/** Every endpoint of the API, in the order of the document. */
export const routes: readonly Route[] = [
  ...tokenRoutes,
  ...publishRoutes,
  ...recordRoutes,
  ...messageRoutes,
  ...presenceRoutes,
];
