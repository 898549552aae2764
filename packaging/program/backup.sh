#!/bin/sh
# backup FILE: configuration and data of this gateway as a .tar.gz, while it serves. Run it as root.
#
# A LevelDB directory that is written to cannot just be copied: its list of tables and the tables are of one moment only
# together. So the daemon stands still while tables, which never change, are linked, and the rest, a few megabytes, is
# copied. What is then there is what a kill at that moment would have left: all that was acknowledged.
set -eu
umask 077
state=/var/lib/holdfast

[ $# = 1 ] || {
	echo "usage: backup FILE" >&2
	exit 2
}
# on the same file system, so that it can be linked
copy=$(mktemp -d $state/.backup.XXXXXX)
signal() { systemctl kill --signal="$1" holdfast.service 2>/dev/null || true; }
trap 'signal CONT; rm -rf "$copy"' EXIT
trap 'exit 1' HUP INT TERM

signal STOP
pid=$(systemctl show --property MainPID --value holdfast.service)
# a thread that is in a system call stops behind it
while [ "$pid" != 0 ] && grep -h '^State:' /proc/"$pid"/task/*/status 2>/dev/null | grep -qv 'T (stopped)'; do
	sleep 0.01
done
cd $state
for path in *; do
	# made anew by itself
	case $path in ballast | index) continue ;; esac
	if [ -d "$path" ]; then
		mkdir "$copy/$path"
		for file in "$path"/*; do
			case $file in
			*.ldb) ln "$file" "$copy/$path/" 2>/dev/null || cp -p "$file" "$copy/$path/" ;;
			*) [ ! -f "$file" ] || cp -p "$file" "$copy/$path/" ;;
			esac
		done
	elif [ -f "$path" ]; then
		cp -p "$path" "$copy/"
	fi
done
signal CONT

tar -czf "$1" -C / etc/holdfast etc/default/holdfast --transform "s,^${copy#/},${state#/}," "${copy#/}"
