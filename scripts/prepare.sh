# Sourced by start and test: the right Node.js, the packages, the build.

fail() {
  echo "$*" >&2
  exit 1
}

command -v node >/dev/null || fail "Holdfast needs Node.js 20.19 or later, and there is no node here: on Debian 13, as root: apt-get install nodejs npm (elsewhere: https://nodejs.org)."
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
  fail "Holdfast needs Node.js 20.19 or later, and this is $(node --version): install a later one from https://nodejs.org."

install_packages() {
  # the lock file that was installed from last is npm's own mark
  if [ ! -e node_modules/.package-lock.json ] || { [ ! -L node_modules ] && [ package-lock.json -nt node_modules/.package-lock.json ]; }; then
    command -v npm >/dev/null || fail "Holdfast's packages are installed with npm, and there is none here: on Debian, as root: apt-get install npm."
    npm ci --no-audit --no-fund >&2 || fail "npm ci failed: see above."
  fi
}

build() {
  node scripts/build.js || fail "The build failed: see above."
}
