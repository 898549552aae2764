#!/bin/sh
# Installs Holdfast from this directory, or upgrades it: program in /usr/local, configuration in /etc/holdfast, data in
# /var/lib/holdfast. A version that does not start gives way to the one before. Run it as root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=$(cat "$here/VERSION")
arch=$(cat "$here/ARCH")
files=$here/files
lib=usr/local/lib/holdfast
previous=/$lib.previous.tar

die() {
	echo "holdfast: $*" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || die "run this as root"
[ -d /run/systemd/system ] || die "systemd does not run here"
if command -v dpkg-query >/dev/null && dpkg-query -W -f '${Status}' holdfast 2>/dev/null | grep -q 'ok installed'; then
	die "the Debian package holdfast is installed: upgrade that, or remove it first (its data is kept)"
fi
# a 64-bit kernel may run a 32-bit system
case "$arch:$(uname -m)" in
amd64:x86_64 | arm64:aarch64 | armhf:armv7* | armhf:armv8* | armhf:aarch64) ;;
*) die "this is for $arch, and the machine is $(uname -m)" ;;
esac

# Nothing is touched before the program was seen to start, with its runtime and its store.
node=$files/$lib/bin/node
if [ "$arch" = armhf ]; then
	node=$(command -v node) || die "Node.js 20.19 or later is needed, and there is none"
	"$node" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
		die "Node.js 20.19 or later is needed, and $node is $("$node" --version)"
fi
started=$("$node" "$files/$lib/holdfast.cjs" version 2>&1) || die "the program does not start here (glibc 2.34 and libstdc++ 11 are needed): $started"
[ "$started" = "$version" ] || die "the program calls itself $started, and this is $version"

first=yes
[ ! -e "/$lib/MANIFEST" ] || first=no
if ! getent passwd holdfast >/dev/null; then
	if command -v systemd-sysusers >/dev/null; then
		systemd-sysusers "$files/usr/local/lib/sysusers.d/holdfast.conf"
	else
		useradd --system --user-group --no-create-home --home-dir /var/lib/holdfast --shell /usr/sbin/nologin holdfast
	fi
fi

# Each file is replaced as a whole: the daemon that runs keeps the one it has open.
copy() {
	while read -r file; do
		mkdir -p "/$(dirname "$file")"
		cp -p "$files/$file" "/$file.new"
		chown root:root "/$file.new"
		mv "/$file.new" "/$file"
	done <"$files/$lib/MANIFEST"
}
# delete MANIFEST KEEP: the files of the first list that the second has not.
delete() {
	while read -r file; do
		grep -qxF "$file" "$2" || rm -f "/$file"
	done <"$1"
}
start() {
	systemctl daemon-reload
	systemctl reset-failed holdfast.service 2>/dev/null || true
	systemctl restart holdfast.service && sleep 1 && systemctl is-active --quiet holdfast.service
}

active=yes
if [ "$first" = no ]; then
	systemctl is-active --quiet holdfast.service || active=no
	cp "/$lib/MANIFEST" "/$lib.manifest"
	tar -C / -cf "$previous" -T "/$lib.manifest"
fi
copy
if [ "$arch" = armhf ]; then
	mkdir -p "/$lib/bin"
	ln -sfn "$node" "/$lib/bin/node"
fi
[ "$first" = yes ] || delete "/$lib.manifest" "/$lib/MANIFEST"
for file in etc/holdfast/holdfast.toml etc/default/holdfast; do
	[ -e "/$file" ] || install -D -m 640 -o root -g holdfast "$files/$file" "/$file"
done
systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/holdfast.conf
# a start takes a third less with it, and works without
timeout 120 /usr/local/bin/holdfast --precompile >/dev/null 2>&1 || true
sync

# the choice between enabled and disabled, and between running and not, is the administrator's after the first time
[ "$first" = no ] || systemctl enable --quiet holdfast.service 2>/dev/null
if [ "$active" = no ]; then
	systemctl daemon-reload
	echo "Holdfast $version is installed; it was not running, and is not."
elif start; then
	echo "Holdfast $version is running."
	[ "$first" = no ] || cat <<'TEXT'
It listens on loopback: CoAP 5683, MQTT 1883. Next, open it to devices and name its upstream:
  holdfast user add NAME            who may log in
  editor /etc/holdfast/holdfast.toml   (every key: /usr/local/share/holdfast/holdfast.example.toml)
  holdfast check-config && systemctl restart holdfast && holdfast status
TEXT
elif [ "$first" = no ]; then
	cp "/$lib/MANIFEST" "/$lib.manifest.broken"
	tar -C / -xf "$previous"
	delete "/$lib.manifest.broken" "/$lib/MANIFEST"
	rm -f "/$lib.manifest.broken" "/$lib.manifest" "$previous"
	start || true
	die "version $version did not start (journalctl -u holdfast); the one before is back: $(/usr/local/bin/holdfast version)"
else
	die "version $version did not start: journalctl -u holdfast"
fi
rm -f "/$lib.manifest" "$previous"
