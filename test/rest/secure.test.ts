import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Api, startApi } from './support/api.ts';

let directory = '';
let api: Api;
const file = (name: string) => join(directory, name);
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-rest-tls-'));
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  execFileSync('openssl', ['req', '-x509', ...key, ...subject, '-keyout', file('key.pem'), '-out', file('cert.pem')], {
    stdio: 'pipe',
  });
  api = await startApi({ tls: { certFile: file('cert.pem'), keyFile: file('key.pem') } });
});
afterAll(async () => {
  await api?.stop();
  rmSync(directory, { recursive: true, force: true });
});

describe('HTTPS', () => {
  it('serves the same, bare spaces included', async () => {
    expect(api.server.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    const ca = readFileSync(file('cert.pem'));
    const status = await new Promise((resolve, reject) => {
      const headers = { authorization: api.token };
      request(`${api.server.url}/openapi/rm/users/appid`, { ca, headers, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });
    expect(status).toBe(200);
    const text = await new Promise<string>((resolve, reject) => {
      let read = '';
      const socket = connect({ port: api.port, host: '127.0.0.1', ca }, () =>
        socket.write('GET /healthz?a=b c HTTP/1.1\r\nConnection: close\r\n\r\n'),
      );
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        read += chunk;
      });
      socket.on('error', reject).on('close', () => resolve(read));
    });
    expect(text).toContain('200 OK');
  });

  it('lives on when somebody speaks plain HTTP, and stops while one says nothing', async () => {
    expect(await api.raw('GET / HTTP/1.1\r\n\r\n').catch(() => '')).not.toContain('200 OK');
    const second = await startApi({ tls: { certFile: file('cert.pem'), keyFile: file('key.pem') } });
    const silent = connectTcp({ port: second.port, host: '127.0.0.1' });
    const closed = new Promise((resolve) => silent.on('error', () => undefined).on('close', resolve));
    await new Promise((resolve) => silent.once('connect', resolve));
    await second.stop();
    await closed;
  });

  it('does not start without a certificate that can be used', async () => {
    const tls = { certFile: file('none.pem'), keyFile: file('key.pem') };
    await expect(startApi({ tls })).rejects.toMatchObject({ code: 'start_failed' });
    await expect(startApi({ tls: { ...tls, certFile: file('key.pem') } })).rejects.toMatchObject({
      code: 'start_failed',
    });
  });
});
