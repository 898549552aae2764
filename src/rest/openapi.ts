import type { Parameter, Route } from './route.ts';
import * as is from './schemas.ts';

/** The OpenAPI 3.1 document of `routes`. */
export function openApi(routes: readonly Route[], version: string): object {
  const paths: Record<string, object> = {};
  for (const route of routes) {
    for (const [at, path] of route.paths.entries()) {
      const operationId = at === 0 ? route.id : `${route.id}_${at + 1}`;
      paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, operationId) };
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Holdfast REST API',
      version,
      description:
        'Every answer is { code, msg, body }, and the HTTP status is its code. Times are in the gateway’s time zone.',
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      securitySchemes: {
        token: {
          type: 'apiKey',
          in: 'header',
          name: 'Authorization',
          description: 'Application token, with or without `Bearer ` before it.',
        },
      },
      responses: {
        denied: error('Without a valid application token, or not allowed by the access rules.', 403, ['access deny']),
        notFound: error('Unknown path, or another method.', 404, ['page not found']),
        tooLarge: error('The body is over the limit.', 413, ['payload_too_larger']),
        failed: error('Something went wrong; with Retry-After where the same may succeed later.', 500, ['fail']),
      },
    },
  };
}

function operation(route: Route, operationId: string): object {
  const inBody = route.method === 'POST';
  const errors = inBody ? ['bad_json', ...route.errors] : route.errors;
  const ref = (name: string) => ({ $ref: `#/components/responses/${name}` });
  return {
    operationId,
    summary: route.summary,
    ...(route.authorized ? { security: [{ token: [] }] } : { security: [] }),
    ...(inBody ? { requestBody: requestBody(route) } : { parameters: queryParameters(route) }),
    responses: {
      200: answer('Done.', envelope(200, ['success'], route.answer)),
      400: error('A parameter is missing or wrong, or what was asked for does not exist.', 400, errors),
      ...(route.authorized ? { 403: ref('denied') } : {}),
      404: ref('notFound'),
      ...(inBody ? { 413: ref('tooLarge') } : {}),
      500: ref('failed'),
    },
  };
}

function queryParameters(route: Route): object[] {
  return Object.entries(route.parameters).map(([name, parameter]) => ({
    name,
    in: 'query',
    description: parameter.doc,
    required: parameter.required,
    schema: parameter.schema,
    ...example(parameter),
  }));
}

function requestBody(route: Route): object {
  const parameters = Object.entries(route.parameters);
  const properties = parameters.map(([name, { doc, schema, ...rest }]) => [
    name,
    { ...schema, description: doc, ...('example' in rest ? { examples: [rest.example] } : {}) },
  ]);
  const required = parameters.filter(([, parameter]) => parameter.required).map(([name]) => name);
  return {
    required: true,
    content: {
      'application/json': { schema: { type: 'object', properties: Object.fromEntries(properties), required } },
    },
  };
}

function example({ example }: Parameter): object {
  return example === undefined ? {} : { example };
}

function envelope(code: number, texts: readonly string[], body: object | undefined): object {
  const msg = { type: 'string', enum: [...new Set(texts)] };
  return is.object({ code: { type: 'integer', const: code }, msg, ...(body === undefined ? {} : { body }) });
}

function answer(description: string, schema: object): object {
  return { description, content: { 'application/json': { schema } } };
}

function error(description: string, code: number, texts: readonly string[]): object {
  return answer(description, envelope(code, texts, code === 403 ? undefined : { type: 'null' }));
}
