"""bench.py - a program under test and a scratch folder, for the tests of commands."""

import functools
import pathlib
import subprocess
import sys
import tempfile


class Bench:
    def __init__(self, program, folder):
        self.program = program
        self.folder = pathlib.Path(folder)

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *arguments, program=None):
        return subprocess.run([program or self.program, *map(str, arguments)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=120)


def held(number, promise, check):
    """Prints the TAP line of one check; returns whether it holds."""
    try:
        check()
    except (AssertionError, ValueError, LookupError, OSError,
            subprocess.SubprocessError) as failure:
        print(f"not ok {number} - {promise}")
        print("\n".join(f"# {line}" for line in str(failure).splitlines()))
        return False
    print(f"ok {number} - {promise}")
    return True


def run_checks(checks, program):
    """Every check gets a Bench of its own; prints TAP; the exit status says whether all passed."""
    results = []
    print(f"1..{len(checks)}")
    for number, check in enumerate(checks, 1):
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(program, folder)
            promise = check.__name__.replace("_", " ")
            results.append(held(number, promise, functools.partial(check, bench)))
    sys.exit(0 if all(results) else 1)
