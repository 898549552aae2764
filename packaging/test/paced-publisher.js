import { createSocket } from 'node:dgram';

/**
 * `paced-publisher.js PORT COUNT PER_SECOND TOPIC`: fifty devices that publish in turn at a steady pace, whatever the
 * gateway does meanwhile, confirmable, and sent again as RFC 7252 §4.2 has it. Each message's payload is its number.
 * Prints what came of them as JSON, once all are acknowledged or given up.
 */
const [port, count, perSecond, topic] = process.argv.slice(2);
const total = Number(count);
const devices = Array.from({ length: 50 }, () => createSocket('udp4'));
/** By message id: what waits for its acknowledgement. */
const waiting = new Map();
const result = { sent: 0, acknowledged: 0, sentAgain: 0, refused: 0, givenUp: 0 };
let number = 0;
let lastId = 0;

for (const device of devices) {
  device.on('error', () => undefined);
  device.on('message', (data) => received(device, data));
}

function received(device, data) {
  const [type, tokenLength, code] = [(data[0] >> 4) & 3, data[0] & 15, data[1]];
  const id = tokenLength === 2 ? data.readUInt16BE(4) : data.readUInt16BE(2);
  // a separate answer is confirmable, and acknowledged
  if (type === 0) device.send(Buffer.from([0x60, 0, data[2], data[3]]), Number(port), '127.0.0.1');
  const one = waiting.get(id);
  if (one === undefined) return;
  clearTimeout(one.timer);
  if (type === 2 && code === 0) {
    // its answer is to come; where the gateway was killed meanwhile, it does not
    one.timer = setTimeout(() => again(id, one), 10_000);
  } else if (code === 0x44) {
    waiting.delete(id);
    result.acknowledged += 1;
  } else {
    result.refused += 1;
    one.timer = setTimeout(() => again(id, one), 1_000);
  }
}

/** As a device does that got no good answer: a new message with the same content. */
function again(id, one) {
  waiting.delete(id);
  publish(one.device, one.payload);
}

function publish(device, payload) {
  lastId = (lastId + 1) & 0xffff;
  const id = [lastId >> 8, lastId & 0xff];
  const path = Buffer.from(topic);
  const head = [0x42, 0x02, ...id, ...id, 0xb2, 0x70, 0x73, path.length];
  const datagram = Buffer.concat([Buffer.from(head), path, Buffer.from([0xff]), Buffer.from(payload)]);
  const one = { device, payload, datagram, times: 0, wait: 2_000 * (1 + Math.random() / 2) };
  waiting.set(lastId, one);
  transmit(lastId, one);
}

function transmit(id, one) {
  one.device.send(one.datagram, Number(port), '127.0.0.1');
  one.timer = setTimeout(() => {
    one.times += 1;
    one.wait *= 2;
    if (one.times > 4) {
      waiting.delete(id);
      result.givenUp += 1;
    } else {
      if (one.times === 1) result.sentAgain += 1;
      transmit(id, one);
    }
  }, one.wait);
}

const begun = performance.now();
const pace = setInterval(() => {
  while (number < total && number < ((performance.now() - begun) / 1_000) * Number(perSecond)) {
    number += 1;
    result.sent += 1;
    publish(devices[number % devices.length], `${number}`);
  }
  if (result.acknowledged + result.givenUp === total) {
    clearInterval(pace);
    console.log(JSON.stringify(result));
    process.exit();
  }
}, 5);
