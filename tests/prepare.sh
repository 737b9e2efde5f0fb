# prepare.sh - sourced by bench/run.sh and tests/run.sh (bash): which packages of Debian 12 each of
# them needs, and the functions that install what is missing and configure a build folder.
# All chatter goes to stderr, so that stdout carries results only.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

build_packages=(g++ meson ninja-build ccache pkgconf libfmt-dev libspdlog-dev libcli11-dev
  nlohmann-json3-dev libhwy-dev libucx-dev libibverbs-dev
  libhwloc-dev libxml2-dev libyaml-cpp-dev)
test_packages=(libgtest-dev libbenchmark-dev clang-format libsimgrid-dev
  iproute2 ibsim-utils libumad2sim0 opensm infiniband-diags chromium chromium-driver)
# For tests/run.sh fuzz and full.
fuzz_packages=(clang libclang-rt-14-dev)
# What accl-perf --peers is compared with, and whose mpirun starts ranks in tests.
peer_packages=(openmpi-bin libopenmpi-dev mpich libmpich-dev libgloo-dev)

# For bench/lab and tests/run.sh lab.
lab_packages=(iproute2 util-linux procps python3-yaml python3-matplotlib)
# For bench/lab/softroce and tests/run.sh softroce: a virtual machine, RDMA's tools, and the peers.
softroce_packages=(qemu-system-x86 busybox-static kmod cpio iproute2 util-linux rdma-core
  ibverbs-providers ibverbs-utils perftest)

say() { printf 'accl: %s\n' "$*" >&2; }

fresh_packages=  # "yes" once something was installed: build folders must look again.

# ensure_packages NAME...: installs those that are missing. Exits 2 where it cannot.
ensure_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "this is no Debian; going on in the hope that it has what Debian 12 calls: $*"
    return
  fi
  local missing=() package as_root=()
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
      missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      say "packages are missing; run this as root first: apt-get install ${missing[*]}"
      exit 2
    fi
    as_root=(sudo)
    [ -t 0 ] || as_root+=(-n)  # Nobody is there to type a password.
  fi
  say "installing ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0)
  # A mirror that is half there may still serve what we need, so only the install decides.
  "${apt[@]}" update </dev/null >&2 || say "apt-get update had trouble; trying all the same"
  if ! "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >&2; then
    say "could not install the packages; see apt-get's words above, then run: apt-get install" \
      "${missing[*]}"
    exit 2
  fi
  fresh_packages=yes
}

# configured_with FOLDER OPTION=VALUE...: whether the build folder has these values already.
configured_with() {
  local folder=$1
  shift
  [ -f "$folder/build.ninja" ] || return 1
  meson introspect "$folder" --buildoptions 2>/dev/null | python3 -c '
import json, sys
have = {option["name"]: str(option["value"]).lower() for option in json.load(sys.stdin)}
sys.exit(any(have.get(name) != value.lower() for name, value in
             (wanted.split("=", 1) for wanted in sys.argv[1:])))' "$@"
}

# configure FOLDER OPTION=VALUE...: makes the build folder, or brings its options up to date.
configure() {
  local folder=$1 log options=()
  shift
  # The compiler of Debian 12 is the one whose warnings we know; others may know more of them.
  [ "${CXX:-g++}" = g++ ] && [ "$(g++ -dumpversion)" = 12 ] && set -- "$@" werror=true
  [ -z "$fresh_packages" ] && configured_with "$folder" "$@" && return
  options=("${@/#/-D}")
  [ -f "$folder/build.ninja" ] && options+=(--reconfigure)
  say "configuring ${folder#"$root"/}"
  log=$(meson setup "${options[@]}" "$folder" "$root" </dev/null 2>&1) && return
  printf '%s\n' "$log" >&2
  say "meson could not configure $folder; its words are above"
  return 1
}

# build FOLDER [TARGET...]: compiles, with a progress line on a terminal.
build() {
  local folder=$1 quiet=()
  shift
  [ -t 2 ] || quiet=(--quiet)
  say "building ${folder#"$root"/}"
  ninja -C "$folder" "${quiet[@]}" "$@" </dev/null >&2 && return
  say "the build in $folder failed; the compiler's words are above"
  return 1
}
