import { isAbsolute, join } from 'node:path';
import { hostAndPort } from '../base/index.ts';
import type { BrokerOptions, MqttListenerOptions, MqttScheme } from '../broker/index.ts';
import type { Config } from '../config/index.ts';
import { type LogOptions, slackFor } from '../log/index.ts';
import type { SessionLimits } from '../sessions/index.ts';
import type { UpstreamOptions } from '../upstream/index.ts';

/** How the configuration's keys become the options of the parts. */

const megabyte = 1024 * 1024;
/** The index is a second behind an acknowledgement at most: what was delivered is written well before. */
const lazyDelay = 500;

/** Bytes of a CONNECT beside the payload of its will. */
const loginRoom = 8 * 1024;
const mqttPorts: Readonly<Record<MqttScheme, number>> = { mqtt: 1883, mqtts: 8883, ws: 8083, wss: 8084 };

function mqttListeners(config: Config): MqttListenerOptions[] {
  const { mqtt, limits } = config;
  return mqtt.listen.map((url) => {
    const scheme = url.slice(0, url.indexOf(':')) as MqttScheme;
    const secure = scheme === 'mqtts' || scheme === 'wss';
    const tls =
      secure && mqtt.certFile !== undefined && mqtt.keyFile !== undefined
        ? {
            tls: {
              certFile: mqtt.certFile,
              keyFile: mqtt.keyFile,
              clientCertificate: mqtt.clientCert,
              useIdentity: mqtt.useIdentityAsUsername,
              ...(mqtt.caFile === undefined ? {} : { caFile: mqtt.caFile }),
            },
          }
        : {};
    return {
      scheme,
      ...hostAndPort(url, mqttPorts[scheme]),
      maxConnections: limits.mqttConnections,
      maxPacket: limits.mqttPacket,
      maxConnect: Math.min(limits.mqttPacket, loginRoom + limits.payload),
      ...tls,
    };
  });
}

export function brokerOptions(config: Config, gatewayId: string, version: string): BrokerOptions {
  return {
    listeners: mqttListeners(config),
    connectTimeout: 10_000,
    maxInflight: 1_000,
    connectRate: config.limits.mqttConnectRate,
    queue: { maxQueued: config.limits.mqttQueued, maxQueuedBytes: megabyte },
    sys: { interval: config.mqtt.sysInterval, node: gatewayId, version },
  };
}

export function sessionLimits({ limits }: Config): SessionLimits {
  return {
    sessions: limits.sessions,
    messages: limits.sessionMessages,
    bytes: limits.sessionBytes,
    totalBytes: limits.sessionsBytes,
    inflight: limits.mqttInflight,
    maxAge: limits.sessionAge,
    idle: limits.sessionAge,
  };
}

export function logOptions(config: Config): LogOptions {
  const { store, limits } = config;
  const { maxBytes } = store.history;
  return {
    commitGap: store.commitGap,
    commitDelay: store.commitDelay,
    lazyDelay,
    history: {
      maxBytes,
      maxAge: store.history.maxAge,
      maxRecords: store.history.maxMessages ?? Number.MAX_SAFE_INTEGER,
    },
    // what gathers goes into one write, which a small history must have room for
    maxPendingBytes: Math.min(8 * megabyte, Math.max(megabyte / 2, slackFor(maxBytes), 2 * limits.payload)),
    recentBytes: 2 * megabyte,
  };
}

export function upstreamOptions(upstream: Config['upstream'][number], gatewayId: string): UpstreamOptions {
  const { topics, insecure, clientId, queue, ...rest } = upstream;
  return {
    ...rest,
    clientId: clientId ?? `holdfast-${gatewayId}`,
    rejectUnauthorized: !insecure,
    rules: topics,
    queue,
  };
}

/** A path of the configuration, relative ones to the state directory. */
export function stateFile(config: Config, path: string): string {
  return isAbsolute(path) ? path : join(config.stateDir, path);
}
