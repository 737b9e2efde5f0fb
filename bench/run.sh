#!/bin/bash
# bench/run.sh [--build-only | ARGS] - from a bare Debian 12 to a result: installs what is missing,
# builds into build/, runs `accl-perf allreduce --ranks 4` or `accl-perf ARGS`.
# stdout is accl-perf's, and the exit status: 0 good, 1 wrong results, 2 bad usage or no build.
set -uo pipefail
source "$(dirname "$(readlink -f "$0")")/../tests/prepare.sh"

# A function, so that a file that changes while it runs changes nothing.
main() {
  packages=("${build_packages[@]}")
  case " $* " in *" --peers "*) packages+=("${peer_packages[@]}") ;; esac
  ensure_packages "${packages[@]}"

  # Where tests/run.sh configured the folder before us, tests are part of it.
  if [ -f "$root/build/build.ninja" ]; then
    configure "$root/build" || exit 2
  else
    configure "$root/build" tests=disabled benchmarks=disabled || exit 2
  fi

  case " $* " in
    *" --build-only "*)
      build "$root/build" || exit 2
      exit 0
      ;;
    *" --peers "*) build "$root/build" || exit 2 ;;
    *) build "$root/build" bench/perf/accl-perf || exit 2 ;;
  esac
  [ $# -gt 0 ] || set -- allreduce --ranks 4
  exec "$root/build/bench/perf/accl-perf" "$@"
}

main "$@"
