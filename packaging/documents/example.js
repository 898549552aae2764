import { join } from 'node:path';
import { build } from 'esbuild';

/** The text of `holdfast print-config --example`, without the program: that may be for another architecture. */
export async function exampleConfiguration(root) {
  const { outputFiles } = await build({
    stdin: { contents: "export { exampleConfig } from './src/config/index.ts';", resolveDir: root },
    absWorkingDir: root,
    nodePaths: [join(root, 'node_modules')],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    logLevel: 'warning',
  });
  const [file] = outputFiles;
  const { exampleConfig } = await import(
    `data:text/javascript;base64,${Buffer.from(file.contents).toString('base64')}`
  );
  return exampleConfig();
}
