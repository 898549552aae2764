import type { Counter, Metrics } from '../../telemetry/index.ts';
import type { FailureReason } from './handshake.ts';

const failures: readonly FailureReason[] = [
  'malformed',
  'protocol_version',
  'no_common_suite',
  'illegal_parameter',
  'key',
  'certificate',
  'timeout',
  'displaced',
];

/** Why a record or a hello came to nothing without an answer. */
export type DropReason = 'malformed' | 'unknown_peer' | 'rate' | 'cookie' | 'too_large';

export interface DtlsCounters {
  readonly full: Counter;
  readonly resumed: Counter;
  readonly failed: Readonly<Record<FailureReason, Counter>>;
  readonly helloVerifies: Counter;
  readonly retransmissions: Counter;
  readonly replayed: Counter;
  readonly bad: Counter;
  readonly displaced: Counter;
  readonly moved: Counter;
  readonly dropped: Readonly<Record<DropReason, Counter>>;
}

const drops: readonly DropReason[] = ['malformed', 'unknown_peer', 'rate', 'cookie', 'too_large'];

function each<Name extends string>(names: readonly Name[], make: (name: Name) => Counter): Record<Name, Counter> {
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Record<Name, Counter>;
}

export function dtlsCounters(metrics: Metrics): DtlsCounters {
  const handshakes = 'holdfast_dtls_handshakes_total';
  const done = 'DTLS handshakes that were completed.';
  return {
    full: metrics.counter(handshakes, done, { kind: 'full' }),
    resumed: metrics.counter(handshakes, done, { kind: 'resumed' }),
    failed: each(failures, (reason) =>
      metrics.counter('holdfast_dtls_handshake_failures_total', 'DTLS handshakes that came to nothing.', { reason }),
    ),
    helloVerifies: metrics.counter('holdfast_dtls_hello_verifies_total', 'ClientHellos answered with a cookie.'),
    retransmissions: metrics.counter('holdfast_dtls_retransmissions_total', 'DTLS flights sent again.'),
    replayed: metrics.counter('holdfast_dtls_replays_total', 'DTLS records that were seen before, or are too old.'),
    bad: metrics.counter('holdfast_dtls_bad_records_total', 'DTLS records that are not authentic.'),
    displaced: metrics.counter('holdfast_dtls_sessions_displaced_total', 'DTLS sessions ended at a bound.'),
    moved: metrics.counter('holdfast_dtls_address_changes_total', 'DTLS sessions found at a new address.'),
    dropped: each(drops, (reason) =>
      metrics.counter('holdfast_dtls_dropped_total', 'DTLS datagrams or records dropped unread.', { reason }),
    ),
  };
}
