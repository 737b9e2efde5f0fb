"""main.py - the lab's commands behind run.sh: checks what was asked, runs the experiments inside
namespaces of their own, and makes the report."""

import argparse
import pathlib
import subprocess
import sys
import time

import alone
import flags

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FABRICS = ("eflops-64", "leafspine-64")


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bench/lab/run.sh")
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("fault")
    command = commands.add_parser("eflops")
    flags.add_to(command)
    command.add_argument("--rounds", type=int, default=3, metavar="N",
                         help="every case so often, interleaved (3)")
    command.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "lab",
                         metavar="DIR")
    options = parser.parse_args(arguments)
    if options.what == "eflops":
        flags.check(command, options)
        if not 1 <= options.rounds <= 20:
            command.error(f"--rounds {options.rounds}: give 1 to 20")
        options.out = options.out.resolve()
        if options.out.is_relative_to("/run"):
            command.error(f"--out {options.out}: the lab has a /run of its own; give another")
    return options


def inside(script, *arguments):
    """Runs one of our scripts in a lab of its own."""
    status = alone.run([sys.executable, str(HERE / script), *map(str, arguments)])
    if status != 0:
        sys.exit(status if status < 128 else 1)


def eflops(options):
    began = time.monotonic()
    results = []
    for number, name in enumerate(FABRICS):
        out = options.out / f"{name}.json"
        inside("experiment.py", ROOT / "configs" / f"{name}.yaml", ROOT / "build", out,
               options.rate, options.mtu, options.rounds, *(["scale"] if number == 0 else []))
        results.append(out)
    report = subprocess.run([sys.executable, str(HERE / "report.py"), str(options.out),
                             *map(str, results)], check=False)
    if report.returncode != 0:
        sys.exit("lab: no report was made; its words are above")
    print((options.out / "tables.md").read_text())
    print(f"{time.monotonic() - began:.0f} s; tables and pictures are in {options.out}")


def main(arguments):
    options = parse(arguments)
    try:
        if options.what == "eflops":
            options.out.mkdir(parents=True, exist_ok=True)
            eflops(options)
        else:
            inside("fault.py", ROOT / "configs" / "eflops-16.yaml", ROOT / "build")
    except OSError as error:
        print(f"lab: --out {options.out}: {error.strerror}; give another folder", file=sys.stderr)
        sys.exit(2)
    except alone.Refused as why:
        print(f"lab: {why}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
