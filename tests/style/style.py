"""style.py ROOT [BUILD]: holds the limits of style over the whole tree, and asks the compiler what
only it knows: that every header compiles alone, and that what must not compile does not. Prints one
TAP line a rule, each broken one followed by the places. Exit status 1 if one is broken."""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import rules

CXX = os.environ.get("CXX", "g++").split()
CC = os.environ.get("CC", "gcc").split()
CXX_FLAGS = ["-std=c++20", "-O0", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden",
             "-DSPDLOG_FMT_EXTERNAL"]
C_FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
C_HEADERS = ("accl/accl.h",)
SNIPPETS = "tests/style/must_not_compile"


def in_parallel(action, items):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(action, items))


def first_error(output):
    lines = [line for line in output.splitlines() if "error" in line]
    return (lines or output.splitlines() or ["no message"])[0]


def compile_alone(tree, folder, header, compiler, flags, suffix):
    """Compiles a file that includes nothing but this header, twice; returns "" or the error.
    ccache, where there is one, makes this cheap the second time."""
    source = pathlib.Path(folder) / (header.replace("/", "_") + suffix)
    source.write_text(f'#include "{header}"\n#include "{header}"\n', encoding="utf-8")
    cache = ["ccache"] if shutil.which("ccache") and compiler[0] != "ccache" else []
    folders = [f"-I{place}" for place in tree.places]
    done = subprocess.run(
        [*cache, *compiler, *flags, *folders, "-c", source.name, "-o", source.stem + suffix + ".o"],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False)
    return "" if done.returncode == 0 else f"{header}:1: {first_error(done.stdout)}"


def headers_alone(tree, folder):
    jobs = [(header, CXX, CXX_FLAGS, ".cc") for header in tree.code()
            if header.endswith((".h", ".hpp"))]
    jobs += [(header, CC, C_FLAGS, ".c") for header in C_HEADERS if (tree.root / header).exists()]
    return filter(None, in_parallel(lambda job: compile_alone(tree, folder, *job), jobs))


def snippet_verdict(tree, name):
    """A snippet must compile as it stands, and must not with -DWRONG: "" if so."""
    command = [*CXX, *CXX_FLAGS, "-fsyntax-only", f"-I{tree.root}", tree.root / name]
    right, wrong = (subprocess.run([*command, *extra], stdin=subprocess.DEVNULL, check=False,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                    for extra in ([], ["-DWRONG"]))
    if right.returncode != 0:
        return f"{name}:1: does not compile even where it is right: {first_error(right.stdout)}"
    return f"{name}:1: compiles, and must not" if wrong.returncode == 0 else ""


def must_not_compile(tree):
    snippets = [name for name in tree.code() if name.startswith(SNIPPETS)]
    if not snippets:
        return [f"{SNIPPETS}:1: holds no snippets"]
    return filter(None, in_parallel(lambda name: snippet_verdict(tree, name), snippets))


def formatter():
    """clang-format as Debian 12 has it: other versions format otherwise. None without it."""
    for name in ("clang-format-14", "clang-format"):
        if shutil.which(name):
            version = subprocess.run([name, "--version"], stdout=subprocess.PIPE, text=True,
                                     check=False).stdout
            if "version 14." in version:
                return name
    return None


def formatted(tree, program):
    def verdict(name):
        done = subprocess.run([program, "--dry-run", "-Werror", tree.root / name],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        place = done.stdout.split(": error", 1)[0].removeprefix(f"{tree.root}/")
        return "" if done.returncode == 0 else f"{place}: run {program} -i {name}"
    return filter(None, in_parallel(verdict, tree.code()))


class Report:
    """TAP on stdout."""

    def __init__(self, count):
        self.number = 0
        self.broken = 0
        print(f"1..{count}")

    def rule(self, promise, violations):
        self.number += 1
        violations = sorted(violations)
        self.broken += bool(violations)
        print(f"{'not ok' if violations else 'ok'} {self.number} - {promise}")
        for violation in violations:
            print(f"# {violation}")

    def skip(self, promise, reason):
        self.number += 1
        print(f"ok {self.number} - {promise} # SKIP {reason}")


def main(root, build=None):
    tree = rules.Tree(root.resolve(), build and build.resolve())
    report = Report(len(rules.RULES) + 3)
    for promise, rule in rules.RULES:
        report.rule(promise, rule(tree))
    with tempfile.TemporaryDirectory(prefix="accl-style-") as folder:
        report.rule("every header compiles alone", headers_alone(tree, folder))
    report.rule("what must not compile does not", must_not_compile(tree))
    program = formatter()
    if program:
        report.rule("clang-format has nothing to change", formatted(tree, program))
    else:
        report.skip("clang-format has nothing to change", "no clang-format 14 here")
    for folder in rules.ARROWS:
        share = rules.comment_share(tree, folder)
        if share is not None:
            print(f"# comments in {folder}: {share:.0%}")
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main(*map(pathlib.Path, sys.argv[1:3])))
