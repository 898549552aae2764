/**
 * Floors and peers for the CoAP scenarios: `echo` (bare node:dgram), `fan` (bare node:dgram: a datagram to each observer for
 * each publish) or `coap` (the coap package's server, storing nothing). `floor-servers.js KIND PORT`.
 */
import { createSocket } from 'node:dgram';

const [, , kind, portText] = process.argv;
const port = Number(portText);
const own = {
  type: 'udp4',
  recvBufferSize: 4 << 20,
  lookup: (host, _options, callback) => callback(null, host, 4),
};
const listen = (socket) => socket.bind(port, '127.0.0.1', () => console.log('ready'));

if (kind === 'echo') {
  const socket = createSocket(own);
  socket.on('message', (data, peer) => socket.send(data, peer.port, peer.address));
  listen(socket);
} else if (kind === 'fan') {
  const socket = createSocket(own);
  const observers = new Map();
  socket.on('message', (data, peer) => {
    socket.send(data, peer.port, peer.address);
    // GET registers the token; what comes otherwise goes to all, as a non-confirmable 2.05 with its payload
    if (data[1] === 1) {
      const head = Buffer.concat([Buffer.from([0x54, 0x45, 0, 0]), data.subarray(4, 8), Buffer.from([0x61, 1, 0xff])]);
      observers.set(`${peer.address} ${peer.port}`, { peer, head });
      return;
    }
    const payload = data.subarray(data.indexOf(0xff, 8) + 1);
    for (const { peer, head } of observers.values())
      socket.send(Buffer.concat([head, payload]), peer.port, peer.address);
  });
  listen(socket);
} else {
  const { createServer } = await import('coap');
  const server = createServer((_request, response) => {
    response.code = '2.04';
    response.end();
  });
  server.listen(port, '127.0.0.1', () => console.log('ready'));
}
