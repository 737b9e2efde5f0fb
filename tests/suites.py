"""Chooses tests by suite or name, has meson run them, and sums up their cases.

A case is a GoogleTest case, a line of a TAP program, or a whole program of another kind. A program
that dies, is timed out, or ends badly after all its cases passed counts as one failed case, so
nothing that went wrong can hide between cases. The last line printed is
`N passed, N failed, N skipped`.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml

# Suites that take long, or need what most machines lack. Every other test belongs to quick.
SPECIAL = ("full", "fuzz", "lab", "softroce", "nccl", "gpu", "rdma", "bare")
# Tests of scripts, headers and installed files: a sanitizer would see nothing new.
PLAIN = "plain"
WRAPPER = pathlib.Path(__file__).with_name("wrap.sh")
GOOD = ("OK", "EXPECTEDFAIL")


def tests_of(folder):
    """{name: suites} of every test that is configured in the build folder."""
    answer = subprocess.run(["meson", "introspect", folder, "--tests"], check=True,
                            stdout=subprocess.PIPE, text=True).stdout
    return {test["name"]: {suite.split(":")[1] for suite in test["suite"] if ":" in suite}
            for test in json.loads(answer)}


def name_of(entry):
    """Meson's log calls a test "project:suite / name"."""
    return entry["name"].rsplit(" / ", 1)[-1]


def choose(tests, wanted):
    """The names of the tests that `wanted` (quick, sanitize, a suite or a name) stands for."""
    quick = {name for name, suites in tests.items() if not suites & set(SPECIAL)}
    if wanted == "quick":
        return quick
    if wanted == "sanitize":
        return {name for name in quick if PLAIN not in tests[name]}
    if wanted in tests:
        return {wanted}
    return {name for name, suites in tests.items() if wanted in suites}


def known_names(tests):
    suites = set().union(*tests.values()) - {PLAIN} - set(SPECIAL) if tests else set()
    return ["quick", "asan", "tsan", *SPECIAL, *sorted(suites | set(tests))]


class Tally:
    """Counts, and the lines that say what failed and what was skipped why."""

    def __init__(self):
        self.passed = 0
        self.failures = []
        self.skips = []

    def fail(self, name, why):
        self.failures.append(f"{name}: {why}")

    def skip(self, name, why):
        self.skips.append(f"{name}: {' '.join(why.split()) or 'no reason given'}")

    def report(self):
        for line in self.skips:
            print(f"skipped {line}")
        for line in self.failures:
            print(f"FAILED {line}")
        print(f"{self.passed} passed, {len(self.failures)} failed, {len(self.skips)} skipped")


def count_gtest(tally, name, tree):
    """Adds every case of a GoogleTest result file; returns whether one failed."""
    failed = False
    cases = list(tree.getroot().iter("testcase"))
    for case in cases:
        title = f"{name} {case.get('classname')}.{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None:
            failed = True
            tally.fail(title, "an expectation does not hold; its output is above")
        elif skipped is not None:
            # "FILE:LINE\nreason": the reader wants the reason.
            tally.skip(title, re.sub(r"^\S+:\d+\s", "", skipped.get("message") or ""))
        elif case.get("status") == "notrun":
            tally.skip(title, "disabled in the source")
        else:
            tally.passed += 1
    if not cases:
        failed = True
        tally.fail(name, "the program ran no test case at all")
    return failed


TAP_LINE = re.compile(r"^(not )?ok\b\s*\d*\s*-?\s*([^#]*)(?:#\s*(skip|todo)\S*\s*(.*))?$", re.I)


def count_tap(tally, name, text):
    """Adds every line of a TAP program; returns (whether it was one, whether a line failed)."""
    found = failed = False
    for match in filter(None, map(TAP_LINE.match, text.splitlines())):
        found = True
        title = f"{name} {match[2].strip()}"
        if (match[3] or "").lower() == "skip":
            tally.skip(title, match[4])
        elif match[1]:
            failed = True
            tally.fail(title, "its reason is above")
        else:
            tally.passed += 1
    return found, failed


def count_program(tally, entry, result_file, label):
    """Adds the cases of one program that meson ran; `entry` is its line in meson's log."""
    name = label + name_of(entry)
    result = entry["result"]
    output = entry.get("stdout") or ""
    found = failed = False
    if result_file is not None:
        try:
            failed = count_gtest(tally, name, xml.parse(result_file))
            found = True
        except (OSError, xml.ParseError):
            pass  # It died before it could write; the result says so.
    elif output.startswith(("TAP version", "1..", "ok ", "not ok ")):
        found, failed = count_tap(tally, name, output)
    if result == "SKIP" and not found:
        lines = (output + "\n" + (entry.get("stderr") or "")).strip().splitlines()
        tally.skip(name, re.sub(r"^1\.\.0 # SKIP ", "", lines[-1]) if lines else "")
    elif result in GOOD or result == "SKIP":
        tally.passed += 0 if found else 1
    elif not failed:
        tally.fail(name, f"{result}, exit status {entry['returncode']}")


class ResultFiles:
    """Finds the GoogleTest result file that a command wrote; see wrap.sh."""

    def __init__(self, folder):
        self.by_command = {}
        for record in sorted(folder.glob("*.command")):
            command = record.read_text(errors="replace").rstrip("\n")
            self.by_command.setdefault(command, []).append(record.with_suffix(".xml"))

    def take(self, entry, build):
        command = entry["command"]
        for argument in command:  # Tests of meson's own gtest protocol.
            if argument.startswith("--gtest_output=xml:"):
                return build / argument.split(":", 1)[1]
        wrapped = command[command.index(str(WRAPPER)) + 1:]
        files = self.by_command.get(" ".join(wrapped), [])
        for place, file in enumerate(files):
            if file.exists():
                return files.pop(place)
        # Every GoogleTest program was linked with it; of others no file is expected.
        return None


def environment_for(build, results):
    environment = dict(os.environ, ACCL_TEST_RESULTS=str(results))
    environment.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1")
    environment.setdefault("TSAN_OPTIONS", "halt_on_error=1:second_deadlock_stack=1")
    if build.name != "build":
        environment["ACCL_TEST_FIXED_ADDRESSES"] = "yes"
    return environment


def run_folder(tally, build, names):
    """Has meson run the tests of these names, then adds their cases."""
    results = build / "test-results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    for log in (build / "meson-logs").glob("testlog*.json"):  # Meson adds the wrapper's name.
        log.unlink()
    label = "" if build.name == "build" else f"{build.name}/"
    # Meson's 30 s are meant for a quiet machine and code without sanitizers.
    patience = "3" if build.name == "build" else "8"
    subprocess.run(["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs",
                    "--timeout-multiplier", patience, "--wrap", WRAPPER, *sorted(names)],
                   env=environment_for(build, results), stdin=subprocess.DEVNULL, check=False)
    entries = [json.loads(line) for log in (build / "meson-logs").glob("testlog*.json")
               for line in log.read_text().splitlines()]
    files = ResultFiles(results)
    for entry in entries:
        count_program(tally, entry, files.take(entry, build), label)
    for name in sorted(names - set(map(name_of, entries))):
        tally.fail(label + name, "did not run")


def check(folder, wanted):
    tests = tests_of(folder)
    known = known_names(tests)
    for name in wanted:
        if name not in known:
            print(f"accl: there is no suite or test '{name}'; there are: {' '.join(known)}",
                  file=sys.stderr)
            return 2
    return 0


def run(runs):
    tally = Tally()
    for folder, *wanted in runs:
        tests = tests_of(folder)
        names = set()
        for word in wanted:
            chosen = choose(tests, word)
            names |= chosen
            if not chosen:
                tally.skip(word, f"no test of suite {word} exists yet")
        if names:
            run_folder(tally, pathlib.Path(folder), names)
    tally.report()
    return 1 if tally.failures or not (tally.passed or tally.skips) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", nargs="+", metavar=("FOLDER", "NAME"),
                        help="only say whether the names stand for something; exit 2 if not")
    parser.add_argument("--run", nargs="+", action="append", metavar=("FOLDER", "NAME"), default=[])
    options = parser.parse_args()
    if options.check:
        return check(options.check[0], options.check[1:])
    return run(options.run)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main())
