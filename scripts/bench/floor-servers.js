/** Floors and peers for the CoAP bench: `echo` (bare node:dgram) or `coap` (the coap package's server, storing nothing). */
import { createSocket } from 'node:dgram';

const [, , kind, portText] = process.argv;
const port = Number(portText);
if (kind === 'echo') {
  const socket = createSocket({
    type: 'udp4',
    recvBufferSize: 4 << 20,
    lookup: (host, _options, callback) => callback(null, host, 4),
  });
  socket.on('message', (data, peer) => socket.send(data, peer.port, peer.address));
  socket.bind(port, '127.0.0.1', () => console.log('ready'));
} else {
  const { createServer } = await import('coap');
  const server = createServer((_request, response) => {
    response.code = '2.04';
    response.end();
  });
  server.listen(port, '127.0.0.1', () => console.log('ready'));
}
