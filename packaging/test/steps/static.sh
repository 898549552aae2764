# What can be seen of the packages without installing them.
# shellcheck shell=bash
static_checks() {
  check 'the shipped configuration files are what every release had' \
    env -C "$packaging/program" sha256sum --quiet --check frozen.sha256
  check 'shellcheck has nothing to say' shellcheck -x --severity=style --exclude=SC1091,SC2016 \
    "$packaging"/build-* "$packaging"/documents/changelog "$packaging"/debian/p*{inst,rm} "$packaging"/tarball/*.sh \
    "$packaging"/program/*.sh "$here"/{boot,make-root,with-emulation,lifecycle,emulated}
  check 'systemd-analyze verify: the units' verify_units
  check 'systemd-analyze security: exposure is 1.3 or better' \
    systemd-analyze security --offline=yes --threshold=13 --no-pager "$source_root/systemd/holdfast.service"
  echo "        $(systemd-analyze security --offline=yes --no-pager "$source_root/systemd/holdfast.service" | tail -n 1)"
  check 'lintian has no errors and no warnings' \
    lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$first"
  check 'the same bytes from another folder, umask, locale and time zone: package' reproducible
  check 'the same bytes again: tarball' reproducible_tarball
  echo "        $(basename "$first"): $(stat -c %s "$first") bytes, $(dpkg-deb -f "$first" Installed-Size) KiB installed"
}

# On a machine without the package: what the units name does not exist there.
verify_units() {
  local units=$scratch/units
  mkdir -p "$units"
  sed 's,^ExecStart=.*,ExecStart=/bin/true,' "$source_root/systemd/holdfast.service" >"$units/holdfast.service"
  cp "$source_root/systemd/holdfast.socket" "$units/"
  [ -z "$(systemd-analyze verify --man=no "$units"/holdfast.{service,socket} 2>&1 | tee /dev/stderr)" ]
}

# The package for armhf is small, so that it is made twice within seconds; that for amd64 is made again without compression.
reproducible() {
  local one=$scratch/one other=$scratch/other arch
  mkdir -p "$one" "$other"
  for arch in armhf amd64; do
    if [ $arch = amd64 ]; then export COMPRESSION=none; fi
    "$packaging/build-deb" $arch "$one" || return 1
    (
      cd /
      umask 077
      LC_ALL=C.UTF-8 TZ=Asia/Shanghai TMPDIR=$other "$packaging/build-deb" $arch "$other"
    ) || return 1
  done
  unset COMPRESSION
  (cd "$one" && sha256sum ./*.deb) | (cd "$other" && sha256sum --check)
}

reproducible_tarball() {
  "$packaging/build-tarball" armhf "$scratch/one" && "$packaging/build-tarball" armhf "$scratch/other" &&
    cmp "$scratch"/{one,other}/holdfast-*-linux-armhf.tar.gz
}
