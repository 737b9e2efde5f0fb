#!/bin/bash
# tests/run.sh [quick|full|fuzz|lab|softroce|nccl|gpu|rdma|asan|tsan|bare|NAME]... - from a
# bare Debian 12 to a verdict: installs what is missing, builds into build/, runs the tests.
#   quick  (default) every test that takes seconds
#   asan   quick under the address and undefined-behaviour sanitizers, built into build-asan/
#   tsan   quick under the thread sanitizer, built into build-tsan/
#   fuzz   every reader against what libFuzzer invents, 5 minutes each, built into build-fuzz/
#   full   quick, the long tests, asan and tsan, and 30 seconds of fuzzing each
#   bare   the two commands of this project in a fresh Debian 12 (needs root and a mirror)
#   NAME   any other suite or test
# What cannot run here is skipped aloud and counted. The last line is
# `N passed, N failed, N skipped`; exit status 0 if none failed, 1 if one did or the build broke,
# 2 for bad usage.
set -uo pipefail
source "$(dirname "$(readlink -f "$0")")/prepare.sh"

give_up() {
  echo '0 passed, 1 failed, 0 skipped'
  exit 1
}

# A function, so that a file that changes while it runs changes nothing.
main() {
  case "${1:-}" in
    -h | --help)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$root/tests/run.sh"
      exit 0
      ;;
    -*)
      say "tests/run.sh takes quick, full, a suite or the name of a test, not '$1'; see --help"
      exit 2
      ;;
  esac
  wanted=("${@:-quick}")
  packages=("${build_packages[@]}" "${test_packages[@]}" "${peer_packages[@]}")
  case " ${wanted[*]} " in *" bare "*) packages+=(debootstrap) ;; esac
  case " ${wanted[*]} " in *" lab "* | *" full "*) packages+=("${lab_packages[@]}") ;; esac
  case " ${wanted[*]} " in
    *" softroce "* | *" full "*) packages+=("${softroce_packages[@]}") ;;
  esac
  case " ${wanted[*]} " in *" fuzz "* | *" full "*) packages+=("${fuzz_packages[@]}") ;; esac
  ensure_packages "${packages[@]}"

  configure "$root/build" tests=enabled benchmarks=enabled || give_up
  build "$root/build" build.ninja || give_up  # Takes in what changed in a meson.build.
  python3 "$root/tests/suites.py" --check "$root/build" "${wanted[@]}" || exit 2

  names=() sanitizers=() fuzz_seconds=0
  for name in "${wanted[@]}"; do
    case $name in
      full)
        names+=(quick full) sanitizers+=(asan tsan)
        [ "$fuzz_seconds" -gt 0 ] || fuzz_seconds=30
        ;;
      fuzz) fuzz_seconds=300 ;;
      asan | tsan) sanitizers+=("$name") ;;
      *) names+=("$name") ;;
    esac
  done

  runs=()
  if [ ${#names[@]} -gt 0 ]; then
    build "$root/build" || give_up
    runs+=(--run "$root/build" "${names[@]}")
  fi
  for sanitizer in "${sanitizers[@]}"; do
    kinds=address,undefined
    [ "$sanitizer" = tsan ] && kinds=thread
    configure "$root/build-$sanitizer" tests=enabled benchmarks=disabled \
      optimization=1 "b_sanitize=$kinds" || give_up
    build "$root/build-$sanitizer" || give_up
    runs+=(--run "$root/build-$sanitizer" sanitize)
  done
  if [ "$fuzz_seconds" -gt 0 ]; then
    CC=clang CXX=clang++ configure "$root/build-fuzz" tests=disabled benchmarks=disabled \
      optimization=1 b_sanitize=address,undefined b_lundef=false fuzz=true || give_up
    build "$root/build-fuzz" fuzzers || give_up
    runs+=(--run "$root/build-fuzz" fuzz)
    export ACCL_FUZZ_SECONDS=${ACCL_FUZZ_SECONDS:-$fuzz_seconds}
  fi
  exec python3 "$root/tests/suites.py" "${runs[@]}" </dev/null
}

main "$@"
