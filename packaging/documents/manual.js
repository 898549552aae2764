/** Manual pages in man(7): the program's from its template, the configuration's from the sample file. */

/** Fills in version and date. */
export function manualOfProgram(template, { version, date }) {
  return template.replaceAll('@VERSION@', version).replaceAll('@DATE@', day(date));
}

/** holdfast.toml(5): each key of the sample file with its default or example, and its sentence. */
export function manualOfConfiguration(example, { version, date }) {
  const lines = [
    `.TH HOLDFAST.TOML 5 "${day(date)}" "holdfast ${version}" "Holdfast"`,
    '.SH NAME',
    'holdfast.toml \\- configuration of the Holdfast edge gateway',
    '.SH SYNOPSIS',
    '.I /etc/holdfast/holdfast.toml',
    '.br',
    '.I /etc/holdfast/conf.d/*.toml',
    '.SH DESCRIPTION',
    'The file is TOML. The fragments in conf.d are read after it, by name, and win over it.',
    'Every key can also be set by environment',
    '.RB ( HOLDFAST_COAP__MODE=connection )',
    'and by',
    '.BR "\\-\\-set coap.mode=connection" ,',
    'in rising precedence. Durations and sizes carry units:',
    '\\(dq250ms\\(dq, \\(dq30s\\(dq, \\(dq5m\\(dq, \\(dq12h\\(dq, \\(dq30d\\(dq; \\(dq512B\\(dq, \\(dq64KiB\\(dq, \\(dq256MiB\\(dq.',
    'Each key is shown with its default or, where it has none, an example.',
    '.SH KEYS',
  ];
  let heading = '';
  // the first two lines are about the sample itself
  for (const line of example.split('\n').slice(2)) {
    const table = /^#?(\[+[a-z_.]+\]+)$/.exec(line);
    const key = /^#([a-z0-9_]+ = .*?)\s+# (.*)$/.exec(line);
    if (table !== null) lines.push(`.SS ${escaped(table[1])}`, escaped(heading));
    else if (key !== null) lines.push('.TP', `.B ${escaped(key[1])}`, escaped(key[2]));
    else if (line.startsWith('# ')) heading = line.slice(2);
    else if (line !== '') throw new Error(`not understood in the sample configuration: ${line}`);
  }
  lines.push('.SH SEE ALSO', '.BR holdfast (8)', '');
  return lines.join('\n');
}

function day(date) {
  return date.toISOString().slice(0, 10);
}

/** Text as man(7) takes it: no control lines, no ligatures of quotes and dashes. */
function escaped(text) {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('"', '\\(dq')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('’', '\\(cq')
    .replace(/^\./, '\\&.');
}
