"""bench.py - a program under test and a scratch folder, for the tests of commands."""

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


def run_checks(checks, program):
    """Every check gets a Bench of its own; prints TAP; the exit status says whether all passed."""
    failed = 0
    print(f"1..{len(checks)}")
    for number, check in enumerate(checks, 1):
        name = check.__name__.replace("_", " ")
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(Bench(program, folder))
                print(f"ok {number} - {name}")
            except (AssertionError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"not ok {number} - {name}")
                print("\n".join(f"# {line}" for line in str(error).splitlines()))
    sys.exit(1 if failed else 0)
