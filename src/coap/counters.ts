import type { Counter, Metrics } from '../telemetry/index.ts';

/** The message layer's counters. */
export interface CoapCounters {
  readonly requests: Counter;
  readonly duplicates: Counter;
  readonly retransmissions: Counter;
  readonly resetsSent: Counter;
  readonly resetsReceived: Counter;
  readonly parseErrors: Counter;
  readonly ignored: Counter;
  readonly notificationsDropped: Counter;
  readonly overload: Counter;
  readonly sendErrors: Counter;
}

/** Live state, for gauges and for tests: all are zero, but for the remembered requests, once nothing goes on. */
export interface CoapDiagnostics {
  readonly endpoints: number;
  /** Requests that wait for the handler. */
  readonly pending: number;
  readonly remembered: number;
  readonly rememberedBytes: number;
  /** CONs of ours that wait for an ACK. */
  readonly inFlight: number;
  readonly queued: number;
  readonly queuedBytes: number;
  readonly observations: number;
  readonly uploads: number;
  readonly uploadBytes: number;
  readonly representations: number;
  readonly representationBytes: number;
}

export function coapCounters(metrics: Metrics): CoapCounters {
  return {
    requests: metrics.counter('holdfast_coap_requests_total', 'CoAP requests, duplicates not counted.'),
    duplicates: metrics.counter('holdfast_coap_duplicates_total', 'CoAP requests received again.'),
    retransmissions: metrics.counter('holdfast_coap_retransmissions_total', 'CoAP messages sent again.'),
    resetsSent: metrics.counter('holdfast_coap_resets_total', 'CoAP RST messages.', { direction: 'sent' }),
    resetsReceived: metrics.counter('holdfast_coap_resets_total', 'CoAP RST messages.', { direction: 'received' }),
    parseErrors: metrics.counter('holdfast_coap_parse_errors_total', 'Datagrams that are no CoAP message.'),
    ignored: metrics.counter('holdfast_coap_unanswerable_total', 'Datagrams with source port 0.'),
    notificationsDropped: metrics.counter(
      'holdfast_coap_notifications_dropped_total',
      'Messages dropped because the queue behind an unacknowledged one was full.',
    ),
    overload: metrics.counter('holdfast_coap_overload_total', 'CoAP requests refused at a bound.'),
    sendErrors: metrics.counter('holdfast_coap_send_errors_total', 'CoAP datagrams that could not be sent.'),
  };
}

export function coapGauges(metrics: Metrics, read: () => CoapDiagnostics): void {
  const gauge = (name: string, help: string, pick: (state: CoapDiagnostics) => number) =>
    metrics.gauge(name, help, () => pick(read()));
  gauge('holdfast_coap_endpoints', 'CoAP endpoints of which something is known.', (state) => state.endpoints);
  gauge('holdfast_coap_observers', 'CoAP observations.', (state) => state.observations);
  gauge('holdfast_coap_pending_requests', 'CoAP requests that wait for an answer.', (state) => state.pending);
  gauge('holdfast_coap_remembered_requests', 'CoAP requests kept for deduplication.', (state) => state.remembered);
  gauge('holdfast_coap_queued_messages', 'CoAP messages waiting behind a confirmable one.', (state) => state.queued);
  gauge('holdfast_coap_block_uploads', 'Unfinished Block1 uploads.', (state) => state.uploads);
  gauge('holdfast_coap_block_downloads', 'Answers kept for Block2.', (state) => state.representations);
}
