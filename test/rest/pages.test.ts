import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { routes } from '../../src/rest/routes/index.ts';
import type { Condition } from '../../src/telemetry/index.ts';
import { type Api, startApi } from './support/api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

const page = (path: string) => api.ask('GET', path);
const degraded: Condition = { code: 'link_down', severity: 'degraded', text: 'An upstream cannot be reached.' };
const failed: Condition = { code: 'disk_full', severity: 'failed', text: 'The disk is full.' };

describe('the health pages', () => {
  it('say that the gateway lives', async () => {
    const answer = await page('/healthz');
    expect(answer).toMatchObject({
      status: 200,
      text: 'ok\n',
      headers: { 'content-type': 'text/plain; charset=utf-8' },
    });
    expect(await api.ask('HEAD', '/healthz')).toMatchObject({
      status: 200,
      text: '',
      headers: { 'content-length': '3' },
    });
  });

  it('say in words whether it is ready', async () => {
    expect(await page('/readyz')).toMatchObject({
      status: 200,
      json: { ready: true, state: 'running', conditions: [] },
    });
    api.health.raise(degraded, 'cloud', 'cloud');
    expect(await page('/readyz')).toMatchObject({
      status: 200,
      json: {
        ready: true,
        state: 'degraded',
        conditions: [{ code: 'link_down', severity: 'degraded', text: degraded.text, detail: 'cloud', seconds: 0 }],
      },
    });
    api.health.raise(failed);
    expect(await page('/readyz')).toMatchObject({ status: 503, json: { ready: false, state: 'failed' } });
    api.health.clear(failed);
    api.health.clear(degraded, 'cloud');
  });
});

describe('the metrics', () => {
  it('are text in the format 0.0.4, the API’s own requests among them', async () => {
    await page('/healthz');
    const { text, headers } = await page('/metrics');
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    for (const line of text.trimEnd().split('\n')) {
      expect(line).toMatch(
        /^(?:# HELP [a-z_]+ .+|# TYPE [a-z_]+ (?:counter|gauge)|[a-z_]+(?:\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})? -?[\d.e+-]+)$/,
      );
    }
    expect(text).toContain('holdfast_rest_requests_total{endpoint="/healthz",status="200"}');
  });
});

describe('the status page', () => {
  it('is whole by itself, and escapes what it shows', async () => {
    api.health.raise({ ...degraded, text: '<script>alert(1)</script>' }, '"&\'');
    const { text, headers } = await page('/');
    api.health.clear(degraded);
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect(headers['content-security-policy']).toContain("default-src 'none'");
    expect(text).not.toMatch(/<script|<cloud>|https?:\/\/(?!127)/);
    expect(text).toContain('&lt;script&gt;alert(1)&lt;/script&gt; (&quot;&amp;&#39;)');
    expect(text).toContain('&lt;cloud&gt;');
    expect(text).toContain('1 d 2 h');
  });
});

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { name: string; in: string; required: boolean; schema: object }[];
  readonly requestBody?: { content: { 'application/json': { schema: { properties: object; required: string[] } } } };
  readonly responses: Readonly<Record<string, object>>;
  readonly security: readonly object[];
}

describe('the API’s description', () => {
  let document: {
    openapi: string;
    info: { title: string; version: string };
    paths: Record<string, Record<string, Operation>>;
    components: { responses: object; securitySchemes: object };
  };
  beforeAll(async () => {
    document = (await page('/openapi.json')).json as typeof document;
  });
  const operations = () =>
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
    );

  it('lists what is served, and nothing else', async () => {
    expect(document.openapi).toBe('3.1.0');
    expect(document.info.version).toBe('1.2.3');
    expect(operations()).toHaveLength(14);
    expect(operations().map(({ method, path }) => `${method} ${path}`)).toEqual(
      routes.flatMap(({ method, paths }) => paths.map((path) => `${method} ${path}`)),
    );
    for (const { path, method } of operations()) {
      expect((await api.ask(method, path, {}, method === 'POST' ? '{}' : undefined)).status).not.toBe(404);
    }
    expect(new Set(operations().map(({ operation }) => operation.operationId)).size).toBe(14);
  });

  it('has each parameter, each error’s text, and where a token is asked for', () => {
    const at = (path: string, method = 'get') => document.paths[path]?.[method];
    expect(at('/openapi/rm/device/record')?.parameters?.map(({ name, required }) => [name, required])).toEqual([
      ['clientid', true],
      ['beginTime', true],
      ['endTime', true],
      ['currentPage', false],
      ['pageSize', false],
    ]);
    const publish = at('/openapi/v1/rm/chat/publish', 'post');
    expect(publish?.requestBody?.content['application/json'].schema.required).toEqual([
      'topics',
      'clientid',
      'payload',
    ]);
    expect(JSON.stringify(publish?.responses['400'])).toContain("topics array's size can not exceed 32");
    expect(Object.keys(publish?.responses ?? {})).toEqual(['200', '400', '403', '404', '413', '500']);
    expect(publish?.security).toEqual([{ token: [] }]);
    expect(at('/openapi/rm/app/token', 'post')?.security).toEqual([]);
  });

  it('refers to nothing that is not there', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path = '']) => path);
    expect(references.length).toBeGreaterThan(10);
    for (const path of references) {
      let at: unknown = document;
      for (const part of path.split('/')) at = (at as Record<string, unknown>)[part];
      expect(at, path).toBeDefined();
    }
  });
});
