import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exampleConfiguration } from './example.js';
import { manualOfConfiguration, manualOfProgram } from './manual.js';
import { notices } from './notices.js';
import { describePackage } from './package.js';
import { sbom } from './sbom.js';

/**
 * `write.js ARCH PACKAGES DIRECTORY`: the documents that go into a package: manual pages, the sample configuration, the licence
 * texts and the bill of materials of what bundle.js listed in PACKAGES. VERSION and SOURCE_DATE_EPOCH are those of the build.
 */
const [arch, list, directory] = process.argv.slice(2);
const root = join(import.meta.dirname, '../..');
const version = process.env.VERSION ?? '';
const date = new Date(Number(process.env.SOURCE_DATE_EPOCH) * 1_000);
const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
const described = JSON.parse(readFileSync(list, 'utf8')).map((place) => describePackage(root, lock, place));
// one version may be in several places
const packages = [...new Map(described.map((one) => [`${one.name}@${one.version}`, one])).values()];
const runtime = JSON.parse(readFileSync(join(root, 'packaging/program/node-runtime.json'), 'utf8'));

mkdirSync(directory, { recursive: true });
const write = (name, text) => writeFileSync(join(directory, name), text);

const example = await exampleConfiguration(root);
write('holdfast.example.toml', example);
write('holdfast.toml.5', manualOfConfiguration(example, { version, date }));
write(
  'holdfast.8',
  manualOfProgram(readFileSync(join(root, 'packaging/documents/holdfast.8.in'), 'utf8'), { version, date }),
);
write('THIRD-PARTY-NOTICES.txt', notices(packages));
write('sbom.cdx.json', sbom(packages, { version, date, arch, runtime }));
