#!/bin/sh
# The program with the settings of its service, which come from systemd where it started this.
if [ -z "${INVOCATION_ID:-}" ] && [ -r /etc/default/holdfast ]; then
	set -a
	. /etc/default/holdfast
	set +a
fi
export @ENVIRONMENT@
exec @LIB@/bin/node @FLAGS@ @LIB@/holdfast.cjs "$@"
