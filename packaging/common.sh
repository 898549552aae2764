# Sourced by the build scripts: what makes them give the same bytes for the same commit, and the file tree of a package.
# shellcheck shell=bash

packaging=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source_root=$(dirname "$packaging")
export LC_ALL=C TZ=UTC
umask 022
fail() {
  echo "$*" >&2
  exit 1
}

# The time of the last commit, or the one given, as reproducible builds have it.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -c safe.directory="$source_root" -C "$source_root" log -1 --format=%ct)}
# The version of package.json, or a higher one for a test of upgrades.
VERSION=${VERSION:-$(node -p "require('$source_root/package.json').version")}
[ -n "$SOURCE_DATE_EPOCH" ] || fail "There is no commit whose time could be taken: set SOURCE_DATE_EPOCH."
export SOURCE_DATE_EPOCH VERSION


require_architecture() {
  case ${1:-} in
  amd64 | arm64 | armhf) ;;
  *) fail "usage: $(basename "$0") amd64|arm64|armhf [OUTDIR]" ;;
  esac
}

# put MODE FILE PLACE: a file of the tree at PLACE, relative to `tree`.
put() { install -D -m "$1" "$2" "$tree/$3"; }

# told NAME: a list of scripts/bundle.js, in one line.
told() {
  node --input-type=module -e "import { $1 } from '$source_root/scripts/bundle.js'; console.log($1.join(' '))"
}

# stage ARCH TREE PREFIX: fills TREE with all files that an installation has, below /usr or /usr/local and in /etc.
stage() {
  local arch=$1 tree=$2 prefix=${3#/}
  local lib=$prefix/lib/holdfast share=$prefix/share doc=$prefix/share/doc/holdfast work
  work=$(mktemp -d)
  (cd "$packaging/program" && sha256sum --quiet --check frozen.sha256) ||
    fail "A configuration file that is shipped has changed: unattended upgrades of gateways whose owner edited it would stop."

  node "$packaging/program/bundle.js" "$arch" "$work"
  put 644 "$work/holdfast.cjs" "$lib/holdfast.cjs"
  put 644 "$work/program.js" "$lib/program.js"
  put 644 "$work/classic-level.node" "$lib/classic-level.node"
  # for armhf nobody builds a current Node.js but Debian
  if [ "$arch" != armhf ]; then
    node "$packaging/program/runtime.js" "$arch" "$work"
    put 755 "$work/node" "$lib/bin/node"
    put 644 "$work/LICENSE" "$doc/NODE-LICENSE"
  fi
  local flags environment
  flags=$(told nodeFlags)
  environment=$(told environment)
  sed -e "s,@LIB@,/$lib,g" -e "s,@FLAGS@,$flags," -e "s,@ENVIRONMENT@,$environment," "$packaging/program/holdfast.sh" >"$work/holdfast"
  put 755 "$work/holdfast" "$prefix/bin/holdfast"

  put 755 "$packaging/program/backup.sh" "$lib/backup"

  sed "s,/usr/bin/holdfast,/$prefix/bin/holdfast," "$source_root/systemd/holdfast.service" >"$work/holdfast.service"
  put 644 "$work/holdfast.service" "$prefix/lib/systemd/system/holdfast.service"
  put 644 "$source_root/systemd/holdfast.socket" "$prefix/lib/systemd/system/holdfast.socket"
  put 644 "$source_root/systemd/holdfast.preset" "$prefix/lib/systemd/system-preset/50-holdfast.preset"
  put 644 "$source_root/systemd/holdfast.sysusers" "$prefix/lib/sysusers.d/holdfast.conf"
  put 644 "$source_root/systemd/holdfast.tmpfiles" "$prefix/lib/tmpfiles.d/holdfast.conf"

  put 644 "$packaging/program/holdfast.toml" etc/holdfast/holdfast.toml
  put 644 "$packaging/program/holdfast.default" etc/default/holdfast
  put 644 "$packaging/program/holdfast.bash-completion" "$share/bash-completion/completions/holdfast"

  node "$packaging/documents/write.js" "$arch" "$work/packages.json" "$work/documents"
  put 644 "$work/documents/holdfast.example.toml" "$share/holdfast/holdfast.example.toml"
  put 644 "$work/documents/holdfast.8" "$share/man/man8/holdfast.8"
  put 644 "$work/documents/holdfast.toml.5" "$share/man/man5/holdfast.toml.5"
  put 644 "$work/documents/THIRD-PARTY-NOTICES.txt" "$doc/THIRD-PARTY-NOTICES.txt"
  put 644 "$work/documents/sbom.cdx.json" "$doc/sbom.cdx.json"
  put 644 "$packaging/OPERATORS.md" "$doc/OPERATORS.md"
  put 644 "$source_root/README.md" "$doc/README.md"
  rm -r "$work"
}

# same_times TREE: nothing in it is younger than the commit.
same_times() { find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +; }
