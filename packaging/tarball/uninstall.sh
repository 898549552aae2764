#!/bin/sh
# uninstall.sh [--purge]: takes away what install.sh installed; with --purge also configuration, data and user.
set -eu
lib=/usr/local/lib/holdfast

[ "$(id -u)" = 0 ] || {
	echo "holdfast: run this as root" >&2
	exit 1
}
case "${1:-}" in
'' | --purge) ;;
*)
	echo "usage: uninstall.sh [--purge]" >&2
	exit 2
	;;
esac
[ -e $lib/MANIFEST ] || {
	echo "holdfast: it is not installed, or not by install.sh" >&2
	exit 1
}
# the socket first: it would start the daemon again
systemctl disable --quiet --now holdfast.socket holdfast.service 2>/dev/null || true
while read -r file; do
	rm -f "/$file"
done <$lib/MANIFEST
rm -rf $lib $lib.previous.tar $lib.manifest
rmdir /usr/local/share/holdfast /usr/local/share/doc/holdfast 2>/dev/null || true
systemctl daemon-reload
systemctl reset-failed holdfast.service 2>/dev/null || true
if [ "${1:-}" = --purge ]; then
	rm -rf /etc/holdfast /etc/default/holdfast /var/lib/holdfast
	! getent passwd holdfast >/dev/null || userdel holdfast
	! getent group holdfast >/dev/null || groupdel holdfast
	echo "Holdfast is removed, with its data."
else
	echo "Holdfast is removed; /etc/holdfast and /var/lib/holdfast are kept."
fi
