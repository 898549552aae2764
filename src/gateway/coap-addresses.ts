import { hostAndPort } from '../base/index.ts';
import type { UdpAddress } from '../coap/index.ts';
import type { InheritedSocket } from '../systemd/index.ts';
import type { Logger } from '../telemetry/index.ts';

const isSecure = (url: string | undefined) => url?.startsWith('coaps:') === true;

/**
 * Where CoAP is listened at: the configured URLs, with the sockets that the service manager holds in their place. A socket
 * goes to the URL with its address; one that has none takes the place of a URL that has no socket, or is listened at
 * beside them. The manager's word holds, since what it binds cannot be bound again.
 */
export function coapAddresses(
  urls: readonly string[],
  sockets: readonly InheritedSocket[],
  logger: Pick<Logger, 'info' | 'warn'>,
): readonly UdpAddress[] {
  const configured: UdpAddress[] = urls.map((url) => {
    const { host, port } = hostAndPort(url, isSecure(url) ? 5684 : 5683);
    return { address: host, port };
  });
  const others: UdpAddress[] = [];
  for (const { fd, name, udp } of sockets) {
    if (udp === undefined) {
      logger.warn({ fd, name }, 'a socket was passed by the service manager that is no UDP socket: not used');
      continue;
    }
    const at = configured.findIndex(({ address, port }) => address === udp.address && port === udp.port);
    if (at === -1) others.push({ ...udp, fd });
    else configured[at] = { ...udp, fd };
  }
  for (const socket of others) {
    // what comes there may be plain CoAP: not where DTLS is spoken
    const at = configured.findIndex(({ fd }, index) => fd === undefined && !isSecure(urls[index]));
    const shown = `${socket.address} port ${socket.port}`;
    if (at === -1) {
      logger.warn(
        { socket: shown },
        'the service manager holds a socket that coap.listen does not name: listened at too',
      );
      configured.push(socket);
    } else {
      logger.warn(
        { socket: shown, configured: urls[at] },
        'the service manager holds a socket with another address than coap.listen: the socket is used',
      );
      configured[at] = socket;
    }
  }
  const held = configured.filter(({ fd }) => fd !== undefined).length;
  if (held > 0) logger.info({ held }, 'the service manager holds the CoAP port');
  return configured;
}
