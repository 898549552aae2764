import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RequestLineRepair } from '../../src/rest/request-line.ts';

const repaired = (text: string | Buffer) => {
  const repair = new RequestLineRepair();
  return repair.push(Buffer.from(text)).toString('latin1');
};

describe('a request line', () => {
  it.each([
    ['GET /a?b=1 2&c=3 4 HTTP/1.1\r\nX: a b\r\n\r\n', 'GET /a?b=1%202&c=3%204 HTTP/1.1\r\nX: a b\r\n\r\n'],
    ['GET /a?b=1  2 HTTP/1.1\r\n', 'GET /a?b=1%20%202 HTTP/1.1\r\n'],
    ['GET /a?b= HTTP/1.1 HTTP/1.1\n', 'GET /a?b=%20HTTP/1.1 HTTP/1.1\n'],
    ['GET /a?b=温 HTTP/1.1\r\n', 'GET /a?b=%E6%B8%A9 HTTP/1.1\r\n'],
    ['GET /温?b HTTP/1.1\r\n', 'GET /%E6%B8%A9?b HTTP/1.1\r\n'],
    ['\r\n\r\nGET /a?b=1 2 HTTP/1.1\r\n', '\r\n\r\nGET /a?b=1%202 HTTP/1.1\r\n'],
  ])('%j is repaired', (given, expected) => {
    expect(repaired(given)).toBe(expected);
  });

  it.each([
    'GET /a?b=1%202 HTTP/1.1\r\nX: a?b c d\r\n\r\n',
    'GET /a b HTTP/1.1\r\n',
    'POST /a?b=1 2 HTTP/1.1\r\nContent-Length: 3\r\n\r\na b',
    'GETS /a?b=1 2 HTTP/1.1\r\n',
    'get /a?b=1 2 HTTP/1.1\r\n',
    '\u0000\u0001?a b c',
    'GET /a?b\r\n',
  ])('%j passes as it is', (text) => {
    expect(repaired(Buffer.from(text, 'latin1'))).toBe(text);
  });

  it('is the first line of each request alone', () => {
    const repair = new RequestLineRepair();
    const line = 'GET /?a=1 2 HTTP/1.1\r\n\r\n';
    const push = (text: string) => repair.push(Buffer.from(text)).toString();
    expect(push(line)).toBe('GET /?a=1%202 HTTP/1.1\r\n\r\n');
    expect(push(line)).toBe(line);
    repair.nextRequest();
    expect(push(line)).toBe('GET /?a=1%202 HTTP/1.1\r\n\r\n');
  });

  it('holds back no more than a bound', () => {
    const repair = new RequestLineRepair(10);
    expect(repair.push(Buffer.from('GET /?a= 123456789')).toString()).toBe('GET /?a=');
    expect(repair.push(Buffer.from('0x y')).toString()).toBe(' 1234567890x y');
  });

  it('comes out the same, however it is cut', () => {
    const text = fc
      .array(fc.constantFrom('GET ', ' ', '/', '?', 'a', '温', '\r\n', ' HTTP/1.1\r\n', '%20', '\n'), { maxLength: 30 })
      .map((parts) => Buffer.from(parts.join('')));
    fc.assert(
      fc.property(text, fc.array(fc.nat(60), { maxLength: 6 }), (bytes, cuts) => {
        const whole = new RequestLineRepair().push(bytes).toString('latin1');
        const repair = new RequestLineRepair();
        let out = '';
        let from = 0;
        for (const cut of [...cuts, bytes.length].sort((a, b) => a - b)) {
          if (cut > bytes.length) break;
          out += repair.push(bytes.subarray(from, cut)).toString('latin1');
          from = cut;
        }
        out += repair.push(bytes.subarray(from)).toString('latin1');
        expect(out).toBe(whole);
      }),
      { numRuns: 2_000 },
    );
  });
});
