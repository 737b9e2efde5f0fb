"""install_test.py BUILD: what a user of an installed ACCL gets. Installs the build folder below a
folder of its own, builds both examples with nothing but its pkg-config file, and runs them as
processes; looks at what the library needs and shows. Prints TAP."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
# The parts of glibc, and the loader. Anything else would have to be installed beside us.
SYSTEM_LIBRARIES = re.compile(r"lib(c|m|dl|rt|pthread)\.so\.\d|ld-linux.*")
MAX_LIBRARY_BYTES = 4 << 20
TIMEOUT_S = 60


def output_of(command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=600, **options)
    assert done.returncode == 0, f"{command[0]} gave {done.returncode}: {done.stdout}"
    return done.stdout


def targets_of(build):
    """{name: type} of everything the build folder can make."""
    listing = output_of(["meson", "introspect", build, "--targets"])
    return {target["name"]: target["type"] for target in json.loads(listing)}


class Installed:
    """What a build folder installs, below `folder`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.shared_object = None
        self.environment = {}

    def fill(self, build):
        output_of(["meson", "install", "-C", build, "--no-rebuild", "--destdir", self.folder])
        self.shared_object = self.only("libaccl.so*")
        self.environment = dict(
            os.environ, PKG_CONFIG_LIBDIR=str(self.only("accl.pc").parent),
            PKG_CONFIG_SYSROOT_DIR=str(self.folder), LD_LIBRARY_PATH=str(self.shared_object.parent))
        for name in list(self.environment):  # A launcher round us must not leak in.
            if name.startswith(("ACCL_", "OMPI_", "PMI", "SLURM_")):
                del self.environment[name]

    def only(self, pattern):
        found = {path.resolve() for path in self.folder.rglob(pattern)}
        assert len(found) == 1, f"installed as {pattern}: {sorted(found)}"
        return found.pop()

    def compile(self, compiler, source):
        flags = output_of(["pkg-config", "--cflags", "--libs", "accl"], env=self.environment)
        program = self.folder / source.replace(".", "_")
        output_of([*compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", HERE / source, "-o",
                   program, *flags.split()], cwd=self.folder, env=self.environment)
        return program

    def run(self, program, size, ranks):
        """[(exit status, stdout, stderr)] of these ranks, started together."""
        root = f"127.0.0.1:{free_port()}"
        processes = [subprocess.Popen(
            [program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=dict(self.environment, ACCL_ROOT=root, ACCL_WORLD_SIZE=str(size),
                                ACCL_RANK=str(rank))) for rank in ranks]
        try:
            return [(*process.communicate(timeout=TIMEOUT_S), process.returncode)
                    for process in processes]
        finally:
            for process in processes:
                process.kill()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def example_runs(installed, compiler, source, says):
    program = installed.compile(compiler, source)
    for rank, (out, error, status) in enumerate(installed.run(program, 2, [0, 1])):
        assert status == 0, f"rank {rank} gave {status}: {out}{error}"
        assert out.startswith(f"rank {rank} of 2: {says}"), f"rank {rank} said {out!r}"


def example_fails_in_one_sentence(installed, compiler, source):
    program = installed.compile(compiler, source)
    [(out, error, status)] = installed.run(program, 2, [5])
    assert status == 2, f"exit status {status}: {out}{error}"
    sentence = [line for line in error.splitlines() if line.startswith("example: ")]
    assert len(sentence) == 1 and "5" in sentence[0], f"said {error!r}"


def needs_only_the_system(installed):
    needed = re.findall(r"NEEDED\s+(\S+)", output_of(["objdump", "-p", installed.shared_object]))
    assert needed, "objdump shows nothing"
    others = [name for name in needed if not SYSTEM_LIBRARIES.fullmatch(name)]
    assert not others, f"the library needs {others}"


def shows_only_its_interface(installed):
    lines = output_of(["nm", "-D", "--defined-only", installed.shared_object]).splitlines()
    names = [line.split()[-1].split("@")[0] for line in lines]
    assert "accl_allreduce" in names, f"shows {names[:20]}"
    others = [name for name in names if not name.startswith("accl_")]
    assert not others, f"shows {len(others)} other symbols, such as {others[:5]}"


def is_small(installed):
    stripped = installed.folder / "stripped.so"
    output_of(["strip", "-o", stripped, installed.shared_object])
    size = stripped.stat().st_size
    assert size < MAX_LIBRARY_BYTES, f"{size} bytes stripped"


def has_the_benchmark(installed):
    program = installed.only("accl-perf")
    assert "allreduce" in output_of([program, "--help"], env=installed.environment)


CHECKS = (
    ("the C example adds over two processes",
     lambda it: example_runs(it, ["gcc", "-std=c99"], "example.c", "values[1] is 3, 0 of 1000")),
    ("the C++ example averages over two processes",
     lambda it: example_runs(it, ["g++", "-std=c++20"], "example.cc", "the average is 1.5, 0 ")),
    ("a wrong rank ends the C example with one sentence",
     lambda it: example_fails_in_one_sentence(it, ["gcc", "-std=c99"], "example.c")),
    ("a wrong rank ends the C++ example with one sentence",
     lambda it: example_fails_in_one_sentence(it, ["g++", "-std=c++20"], "example.cc")),
    ("the library needs nothing but the system", needs_only_the_system),
    ("the library shows nothing but its interface", shows_only_its_interface),
    (f"the library has less than {MAX_LIBRARY_BYTES >> 20} MiB", is_small),
    ("accl-perf is there", has_the_benchmark),
)


def main(build):
    if targets_of(build).get("accl") != "shared library":
        print("1..0 # SKIP this build has no shared library 'accl'")
        return 0
    print(f"1..{len(CHECKS) + 1}")
    with tempfile.TemporaryDirectory(prefix="accl-install-") as folder:
        installed = Installed(folder)
        if not held(1, "the build folder installs", lambda: installed.fill(build)):
            return 1
        results = [held(number, promise, lambda: check(installed))
                   for number, (promise, check) in enumerate(CHECKS, 2)]
    return 0 if all(results) else 1


def held(number, promise, check):
    """Prints the TAP line of one check; returns whether it holds."""
    try:
        check()
    except (AssertionError, subprocess.TimeoutExpired) as failure:
        print(f"not ok {number} - {promise}")
        print("\n".join(f"# {line}" for line in str(failure).splitlines()))
        return False
    print(f"ok {number} - {promise}")
    return True


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main(sys.argv[1]))
