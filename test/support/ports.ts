import { createSocket, type Socket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';

/**
 * Ports for what a test starts, stops and starts again, so that it cannot be told port 0. A test file claims a block of them
 * by listening on its first for as long as the file runs, and gives each of the rest out once: no two files that run side by
 * side, and no two parts of one test, get the same. The blocks are outside the range from which the kernel takes the port
 * of an outgoing connection, so that none takes one while its listener is away.
 */
const blockSize = 64;
let next = 0;
let end = 0;

/** A port of 127.0.0.1 that is free for TCP and UDP, and that no other test gets. */
export async function freePort(): Promise<number> {
  for (;;) {
    if (next === end) await claim();
    const port = next++;
    const udp = createSocket('udp4');
    const tcp = createServer();
    const [tcpFree, udpFree] = await Promise.all([
      binds(tcp, () => tcp.listen(port, '127.0.0.1')),
      binds(udp, () => udp.bind(port, '127.0.0.1')),
    ]);
    if (tcpFree) await new Promise((resolve) => tcp.close(resolve));
    if (udpFree) await new Promise<void>((resolve) => udp.close(resolve));
    if (tcpFree && udpFree) return port;
  }
}

async function claim(): Promise<void> {
  const blocks = claimable();
  for (;;) {
    const first = blocks[Math.floor(Math.random() * blocks.length)] ?? 0;
    const guard = createServer();
    if (!(await binds(guard, () => guard.listen(first, '127.0.0.1')))) continue;
    guard.unref();
    next = first + 1;
    end = first + blockSize;
    return;
  }
}

/** The first ports of all blocks outside the ephemeral range; of all blocks where that leaves none. */
function claimable(): number[] {
  const [low = 0, high = 0] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
    .trim()
    .split(/\s+/)
    .map(Number);
  const all: number[] = [];
  for (let first = 10_240; first + blockSize <= 65_536; first += blockSize) all.push(first);
  const outside = all.filter((first) => first + blockSize <= low || first > high);
  return outside.length > 0 ? outside : all;
}

function binds(endpoint: Server | Socket, bind: () => void): Promise<boolean> {
  return new Promise((resolve) => {
    endpoint.once('error', () => resolve(false));
    endpoint.once('listening', () => resolve(true));
    bind();
  });
}
