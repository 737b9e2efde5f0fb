#!/bin/bash
# bare.sh ROOT [quick|full|NAME...] - the promise of this project, kept where nothing is installed:
# makes a fresh Debian 12 with debootstrap, copies the repository in, runs bench/run.sh and
# tests/run.sh there (quick unless told otherwise). Prints TAP; the output of both goes to stderr.
# Needs root, debootstrap, a mirror, about 4 GB in $TMPDIR, and takes a quarter of an hour.
set -uo pipefail
root=$1
shift
[ $# -gt 0 ] || set -- quick

skip() {
  echo "1..0 # SKIP $*"
  exit 0
}

[ "$(id -u)" -eq 0 ] || skip 'needs root, for chroot'
command -v debootstrap >/dev/null || skip 'needs debootstrap: apt-get install debootstrap'
# A PID namespace takes every process with it when we end, and the mounts go with theirs.
alone=(unshare --mount --pid --fork --kill-child)
"${alone[@]}" true 2>/dev/null || skip 'needs the right to make mount and PID namespaces'

bare=$(mktemp -d "${TMPDIR:-/tmp}/accl-bare-XXXXXX")
trap 'rm -rf --one-file-system "$bare"' EXIT
trap 'exit 1' INT TERM

# The mirror, proxy and checks this machine uses itself.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' \
  2>/dev/null | head -n 1)
mirror=${mirror:-http://deb.debian.org/debian}
echo "making a bare Debian 12 in $bare" >&2
debootstrap --variant=minbase bookworm "$bare" "$mirror" >"$bare.log" 2>&1 ||
  { tail -n 3 "$bare.log" >&2; rm -f "$bare.log"; skip "debootstrap could not use $mirror"; }
rm -f "$bare.log"
apt-config dump | grep -E '^Acquire::(http|https|Check-)' >"$bare/etc/apt/apt.conf.d/99machine"

# What an installer would have written; debootstrap does not.
printf '%s\n' '127.0.0.1 localhost' '::1 localhost ip6-localhost ip6-loopback' >"$bare/etc/hosts"

mkdir -p "$bare/accl"
if git -C "$root" rev-parse >/dev/null 2>&1; then
  files() { git -C "$root" ls-files -z --cached --others --exclude-standard; }
else
  files() { (cd "$root" && find . -path './build*' -prune -o -type f -print0); }
fi
files | tar -C "$root" --null --ignore-failed-read -T - -cf - 2>/dev/null |
  tar -C "$bare/accl" -xf -

# inside COMMAND...: runs it in the bare system, with an environment as bare.
inside() {
  "${alone[@]}" bash -c 'mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/dev/shm" &&
    mount -t sysfs -o ro sysfs "$1/sys" &&
    bare=$1 && shift && exec chroot "$bare" "$@"' inside "$bare" \
    env -i HOME=/tmp PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} "$@" \
    </dev/null
}

status=0
verdict() {  # verdict RESULT NUMBER PROMISE
  if [ "$1" -eq 0 ]; then
    echo "ok $2 - $3"
  else
    status=1
    echo "not ok $2 - $3"
  fi
}

echo 1..3
began=$SECONDS
inside /accl/bench/run.sh --build-only >&2
verdict $? 1 'bench/run.sh --build-only builds from nothing'
echo "# $((SECONDS - began)) s"

began=$SECONDS
table=$(inside /accl/bench/run.sh)
result=$?
printf '%s\n' "$table" >&2
[ "$result" -eq 0 ] && grep -qE '^ +[0-9]+ +[0-9]+ +float +sum ' <<<"$table"
verdict $? 2 'bench/run.sh prints its table'
echo "# $((SECONDS - began)) s"

began=$SECONDS
inside /accl/tests/run.sh "$@" >&2
verdict $? 3 "tests/run.sh $* passes"
echo "# $((SECONDS - began)) s"
exit $status
