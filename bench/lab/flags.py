"""flags.py - the flags of a fabric, alike in all commands of the lab."""


def add_to(parser):
    parser.add_argument("--rate", type=int, default=10_000_000, metavar="BITS",
                        help="of every cable, per second (10000000)")
    parser.add_argument("--mtu", type=int, default=3000, metavar="BYTES", help="(3000)")


def check(parser, options):
    if not 1_000_000 <= options.rate <= 10_000_000_000:
        parser.error(f"--rate {options.rate}: give 1000000 to 10000000000 bits per second")
    if not 1280 <= options.mtu <= 9000:
        parser.error(f"--mtu {options.mtu}: give 1280 to 9000 bytes")
