import { createCipheriv, createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { extendedMasterSecret, keyBlock, prf, pskPremaster } from '../../../src/coap/dtls/key-schedule.ts';
import { RecordProtection } from '../../../src/coap/dtls/protection.ts';
import { parseRecord } from '../../../src/coap/dtls/record.ts';
import { suiteOf } from '../../../src/coap/dtls/suites.ts';

const hex = (text: string) => Buffer.from(text.replace(/\s+/g, ''), 'hex');

describe('the ciphers below', () => {
  it('are CCM as RFC 3610 §8 has it, packet vector 1: a tag of 8 bytes', () => {
    const cipher = createCipheriv(
      'aes-128-ccm',
      hex('C0C1C2C3C4C5C6C7C8C9CACBCCCDCECF'),
      hex('00000003020100A0A1A2A3A4A5'),
      { authTagLength: 8 },
    );
    cipher.setAAD(hex('0001020304050607'), { plaintextLength: 23 });
    const text = cipher.update(hex('08090A0B0C0D0E0F101112131415161718191A1B1C1D1E'));
    cipher.final();
    expect(Buffer.concat([text, cipher.getAuthTag()])).toEqual(
      hex('588C979A61C663D2F066D0C2C0F989806D5F6B61DAC38417E8D12CFDF926E0'),
    );
  });
});

describe('the pseudorandom function', () => {
  it('gives the published test vector of TLS 1.2 with SHA-256', () => {
    const secret = hex('9bbe436ba940f017b17652849a71db35');
    const seed = hex('a0ba9f936cda311827a6f796ffd5198c');
    expect(prf(secret, 'test label', seed, 100)).toEqual(
      hex(`e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a
           6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab
           4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701
           87347b66`),
    );
  });

  it('is HMAC-SHA-256 where one block is enough', () => {
    const secret = Buffer.from('secret');
    const labelled = Buffer.from('labelseed');
    const a = createHmac('sha256', secret).update(labelled).digest();
    const block = createHmac('sha256', secret).update(a).update(labelled).digest();
    expect(prf(secret, 'label', Buffer.from('seed'), 12)).toEqual(block.subarray(0, 12));
  });
});

describe('the key schedule', () => {
  it('makes the premaster secret of RFC 4279 §2', () => {
    expect(pskPremaster(hex('0102030405'))).toEqual(hex('0005 0000000000 0005 0102030405'));
  });

  it('puts the server’s random first for the keys, RFC 5246 §6.3', () => {
    const [master, client, server] = [Buffer.alloc(48, 1), Buffer.alloc(32, 2), Buffer.alloc(32, 3)];
    expect(keyBlock(master, client, server)).toEqual(prf(master, 'key expansion', Buffer.concat([server, client]), 40));
    expect(extendedMasterSecret(master, client)).toHaveLength(48);
  });
});

/** RFC 9146 §5.3 and RFC 6347 §4.1.2.1, written out by hand. */
describe('a protected record', () => {
  const block = hex('000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f 20212223 24252627');
  const suite = suiteOf(0xc0a8);
  if (suite === undefined) throw new Error('no suite');

  it.each([
    ['without a connection id', undefined, '0001000000000005 17 fefd 0002', '17 fefd 0001 000000000005', '6869'],
    [
      'with one',
      hex('aabbcc'),
      'ffffffffffffffff 19 03 19 fefd 0001 000000000005 aabbcc 0003',
      '19 fefd 0001 000000000005 aabbcc',
      '686917',
    ],
  ])('has the additional data and the nonce of the text, %s', (_name, id, aad, header, text) => {
    const nonce = hex('24252627 0001000000000005');
    const cipher = createCipheriv('aes-128-ccm', block.subarray(16, 32), nonce, { authTagLength: 8 });
    cipher.setAAD(hex(aad), { plaintextLength: hex(text).length });
    const sealed = cipher.update(hex(text));
    cipher.final();
    const body = Buffer.concat([hex('0001000000000005'), sealed, cipher.getAuthTag()]);
    const expected = Buffer.concat([hex(header), Buffer.from([0, body.length]), body]);
    const server = new RecordProtection(suite, Buffer.from(block), 'server');
    const record = server.seal(23, 1, 5, Buffer.from('hi'), id);
    expect(record).toEqual(expected);
    const client = new RecordProtection(suite, Buffer.from(block), 'client');
    const parsed = parseRecord(record, 0, id?.length ?? 0);
    expect(parsed && client.open(parsed)).toEqual({ type: 23, content: Buffer.from('hi') });
    client.destroy();
    expect(parsed && client.open(parsed)).toBeUndefined();
  });
});
