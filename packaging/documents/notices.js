/** The licence texts of the packages in the bundle. */
export function notices(packages) {
  const rule = '-'.repeat(80);
  return [
    'Holdfast contains these packages, under these licences.',
    ...packages.map(({ name, version, license, texts }) =>
      [
        `${rule}\n${name} ${version} (${license ?? 'see below'})`,
        ...(texts.length > 0 ? texts : ['The package has no licence text of its own.']),
      ].join('\n\n'),
    ),
    '',
  ].join('\n\n');
}
