#!/bin/bash
# bench/lab/run.sh eflops [--rate BITS] [--mtu BYTES] [--rounds N] [--out DIR] - the EFlops
# experiment from nothing: 64 endpoints on a BiGraph of network namespaces, then the same on a
# leaf-spine of equal size; every algorithm and order, Open MPI and Gloo. Writes NAME.json,
# tables.md and SVG files to DIR (build/lab); nothing else remains.
# bench/lab/run.sh fault - cables cut in mid-run on 16 endpoints, and what is said.
# Needs root. Exit status 1 if anything moved that was not planned, 2 for bad usage.
set -uo pipefail
source "$(dirname "$(readlink -f "$0")")/../../tests/prepare.sh"
lab=$root/bench/lab

usage() {
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$lab/run.sh"
  exit "$1"
}

main() {
  case "${1:-}" in
    eflops | fault) ;;
    -h | --help) usage 0 ;;
    *) usage 2 >&2 ;;
  esac
  ensure_packages "${build_packages[@]}" "${peer_packages[@]}" "${lab_packages[@]}"
  if [ -f "$root/build/build.ninja" ]; then
    configure "$root/build" || exit 2
  else
    configure "$root/build" tests=disabled benchmarks=disabled || exit 2
  fi
  build "$root/build" || exit 2
  # Debian's own Python, for which the packages are.
  exec /usr/bin/python3 "$lab/main.py" "$@"
}

main "$@"
