import { describe, expect, it } from 'vitest';
import { coapAddresses } from '../../src/gateway/coap-addresses.ts';
import type { InheritedSocket } from '../../src/systemd/index.ts';

function addresses(urls: readonly string[], sockets: readonly InheritedSocket[]) {
  const warnings: string[] = [];
  const logger = { info: () => undefined, warn: (_fields: object, text: string) => void warnings.push(text) };
  return { result: coapAddresses(urls, sockets, logger), warnings };
}

const socket = (fd: number, address: string, port = 5683): InheritedSocket => ({
  fd,
  name: 'coap',
  udp: { address, port },
});

describe('where CoAP is listened at', () => {
  it('is as configured where nobody holds a socket', () => {
    const { result, warnings } = addresses(['coap://127.0.0.1', 'coap://[::1]:5700'], []);
    expect(result).toEqual([
      { address: '127.0.0.1', port: 5683 },
      { address: '::1', port: 5700 },
    ]);
    expect(warnings).toEqual([]);
  });

  it('is a socket for the URL with its address, whatever the order, without a word', () => {
    const { result, warnings } = addresses(
      ['coap://127.0.0.1', 'coap://[::1]:5700'],
      [socket(3, '::1', 5700), socket(4, '127.0.0.1')],
    );
    expect(result).toEqual([
      { address: '127.0.0.1', port: 5683, fd: 4 },
      { address: '::1', port: 5700, fd: 3 },
    ]);
    expect(warnings).toEqual([]);
  });

  it('is the socket where its address differs, and the log says so', () => {
    const { result, warnings } = addresses(['coap://127.0.0.1', 'coap://[::1]'], [socket(3, '::1'), socket(4, '::')]);
    expect(result).toEqual([
      { address: '::', port: 5683, fd: 4 },
      { address: '::1', port: 5683, fd: 3 },
    ]);
    expect(warnings).toHaveLength(1);
  });

  it('is a socket more than is configured, too', () => {
    const { result, warnings } = addresses([], [socket(3, '0.0.0.0')]);
    expect(result).toEqual([{ address: '0.0.0.0', port: 5683, fd: 3 }]);
    expect(warnings).toHaveLength(1);
  });

  it('is no socket that is not UDP', () => {
    const { result, warnings } = addresses(['coap://127.0.0.1'], [{ fd: 3, name: 'web', udp: undefined }]);
    expect(result).toEqual([{ address: '127.0.0.1', port: 5683 }]);
    expect(warnings).toHaveLength(1);
  });
});
