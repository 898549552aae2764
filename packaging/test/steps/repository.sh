# The apt repository: installed and upgraded from, and refused once somebody changed it.
# shellcheck shell=bash
install_from_repository() {
  local repository=$box/srv/holdfast key=$work/key.asc
  test_key >"$key"
  mkdir -p "$repository"
  cp "$first" "$repository/"
  check "$suite: repository: built" "$packaging/build-repository" "$repository" --key "$key"
  mkdir -p "$box/etc/apt/keyrings"
  cp "$repository/holdfast.asc" "$box/etc/apt/keyrings/"
  sed 's,^URIs:.*,URIs: file:/srv/holdfast,' "$repository/holdfast.sources" >"$box/etc/apt/sources.list.d/holdfast.sources"
  # the others cannot be reached from the box
  local ours=(-o Dir::Etc::sourcelist=/dev/null)
  check "$suite: repository: apt takes it" apt update -o APT::Update::Error-Mode=any "${ours[@]}"
  check "$suite: repository: installed" apt install "${ours[@]}" holdfast
  check "$suite: repository: it serves" serves
  cp "$later" "$repository/"
  check "$suite: repository: built again" "$packaging/build-repository" "$repository" --key "$key"
  check "$suite: repository: apt takes it again" apt update -o APT::Update::Error-Mode=any "${ours[@]}"
  check "$suite: repository: upgraded" apt upgrade "${ours[@]}"
  same "$suite: repository: to the higher version" 1000.0.0 "$(in_box holdfast version)"
  sed -i 's/^Origin: Holdfast/Origin: Holdfest/' "$repository/dists/stable/InRelease"
  check "$suite: repository: one that was changed is refused" refused apt update -o APT::Update::Error-Mode=any "${ours[@]}"
}

refused() { ! "$@"; }

# A secret key that lives as long as the test.
test_key() (
  GNUPGHOME=$(mktemp -d)
  export GNUPGHOME
  gpg --batch --quiet --passphrase '' --quick-generate-key 'Holdfast test' ed25519 sign never
  gpg --batch --quiet --armor --export-secret-keys
  gpgconf --kill all
  rm -rf "$GNUPGHOME"
)
