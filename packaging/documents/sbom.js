/**
 * The bill of materials (CycloneDX 1.5): the packages that are in the bundle, and the Node.js beside it. Not npm's own:
 * `npm sbom --omit=dev` leaves out what a package for development needs too, and knows of no runtime.
 */
export function sbom(packages, { version, date, arch, runtime }) {
  const pinned = runtime.packages[arch];
  const components = packages.map((one) => ({
    type: 'library',
    'bom-ref': `${one.name}@${one.version}`,
    name: one.name,
    version: one.version,
    purl: `pkg:npm/${one.name.replace('@', '%40')}@${one.version}`,
    ...(one.license === undefined ? {} : { licenses: [{ expression: one.license }] }),
    hashes: [sha512(one.integrity)],
  }));
  if (pinned !== undefined) {
    components.push({
      type: 'platform',
      'bom-ref': `node@${runtime.version}`,
      name: 'node',
      version: runtime.version,
      purl: `pkg:npm/${pinned.name}@${runtime.version}`,
      cpe: `cpe:2.3:a:nodejs:node.js:${runtime.version}:*:*:*:lts:*:*:*`,
      licenses: [{ license: { name: 'Node.js licence, see NODE-LICENSE' } }],
      hashes: [sha512(pinned.integrity)],
    });
  }
  const document = {
    $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      timestamp: date.toISOString(),
      component: {
        type: 'application',
        'bom-ref': `holdfast@${version}`,
        name: 'holdfast',
        version,
        licenses: [{ license: { id: 'Apache-2.0' } }],
      },
    },
    components,
    dependencies: [{ ref: `holdfast@${version}`, dependsOn: components.map((one) => one['bom-ref']) }],
  };
  return `${JSON.stringify(document, undefined, 1)}\n`;
}

/** The checksum of the archive that the package came in. */
function sha512(integrity) {
  const base64 =
    integrity
      .split(' ')
      .find((one) => one.startsWith('sha512-'))
      ?.slice('sha512-'.length) ?? '';
  return { alg: 'SHA-512', content: Buffer.from(base64, 'base64').toString('hex') };
}
