/**
 * The words of the trade, pure values and functions: message, message id, topic, client id.
 *
 * A message id is 64 bits, boot number (24) · position in that boot (40), shown as 16 upper-case hexadecimal digits.
 * It rises in the order of acceptance and holds no time, since a board without a battery-backed clock has none to give.
 */
export { deviceIdOf, fullClientId } from './client-id.ts';
export type {
  Connected,
  ConnectionFacts,
  Delivered,
  Disconnected,
  EndReason,
  EventPlace,
  GatewayEvent,
  Network,
  StoredEvent,
  WillFacts,
} from './event.ts';
export {
  type ClockQuality,
  type Message,
  type Origin,
  type QoS,
  type StoredMessage,
  storedMessage,
} from './message.ts';
export {
  bootOf,
  formatMessageId,
  makeMessageId,
  maxBoot,
  maxPosition,
  parseMessageId,
  positionOf,
} from './message-id.ts';
export { commonSpan, earlierOf, laterOf, type Span, spanEnd, spansAbove } from './span.ts';
export {
  filterCovers,
  filtersOverlap,
  maxTopicLevels,
  topicFilterProblem,
  topicMatches,
  topicNameProblem,
} from './topic.ts';
export { entriesMatching, TopicTree } from './topic-tree.ts';
