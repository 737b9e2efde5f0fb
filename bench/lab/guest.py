"""guest.py - inside of machine.py: Soft-RoCE NICs, and a command among them.

guest.py NICS COMMAND...: devices rxe0, rxe1, ... with addresses 10.0.0.1, 10.0.0.2, ..., each on its
own link into one bridge, so that packets between them cross real links with counters. Kernel 6.1
has RDMA in the first network namespace only, where it would hand packets between two addresses of
its own straight over; the rules below send them out by their NIC.
"""

import os
import pathlib
import subprocess
import sys
import time

SYSCTLS = {"accept_local": 1, "rp_filter": 0, "arp_ignore": 1}
MTU = 4200  # RoCE packets of 4096 bytes.
DEVICES = pathlib.Path("/sys/class/infiniband")
PATIENCE_SECONDS = 30


def batch(tool, lines):
    subprocess.run([tool, "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)


def make_bridge(nics):
    for key, value in SYSCTLS.items():
        for where in ("all", "default"):
            pathlib.Path(f"/proc/sys/net/ipv4/conf/{where}/{key}").write_text(f"{value}\n")
    lines = [f"link add br0 mtu {MTU} type bridge", "link set br0 up"]
    for k in range(nics):  # Within one NIC, though, packets go straight over, as in hardware.
        address, table = f"10.0.0.{k + 1}", 1000 + k
        lines += [f"link add p{k} mtu {MTU} type veth peer name q{k} mtu {MTU}",
                  f"link set q{k} master br0 up", f"addr add {address}/24 dev p{k}",
                  f"link set p{k} up",
                  f"rule add pref {100 + k} iif p{k} lookup local",
                  f"rule add pref {500 + k} from {address} to {address} lookup local",
                  f"rule add pref {table} from {address} lookup {table}",
                  f"route add 10.0.0.0/24 dev p{k} table {table}"]
    lines += ["rule add pref 9000 lookup local", "rule del pref 0"]
    batch("ip", lines)


def make_devices(names):
    """{device: interface}: RoCE over each interface, there when its address is in its table."""
    for device, interface in names.items():
        subprocess.run(["rdma", "link", "add", device, "type", "rxe", "netdev", interface],
                       check=True)
    deadline = time.monotonic() + PATIENCE_SECONDS
    for device in names:
        gids = DEVICES / device / "ports" / "1" / "gids"
        while not any("ffff:" in entry.read_text() for entry in gids.iterdir()
                      if int(entry.name) < 4):
            if time.monotonic() > deadline:
                sys.exit(f"softroce: {device} has no address after {PATIENCE_SECONDS} s")
            time.sleep(0.05)


def main():
    nics = int(sys.argv[1])
    make_bridge(nics)
    make_devices({f"rxe{k}": f"p{k}" for k in range(nics)})
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
