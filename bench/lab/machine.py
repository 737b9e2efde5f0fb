"""machine.py - a virtual machine with Debian's own kernel, which has Soft-RoCE: RDMA verbs that
send real RoCE v2 packets over any network device. It sees this machine's files, read-only under a
layer that is thrown away, so what is built here runs there as it is.

KVM where that really boots a machine, else emulation: slow, but the same packets.
"""

import hashlib
import os
import pathlib
import secrets
import shlex
import shutil
import subprocess
import tempfile
import threading

from alone import Refused

NEEDS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "cpio": "cpio",
         "modprobe": "kmod", "depmod": "kmod", "rdma": "iproute2", "dpkg": "dpkg",
         "setpriv": "util-linux"}
# The checksums before rdma_rxe, or it makes no device.
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "veth", "dummy", "bridge",
           "crc32_generic", "crc32_pclmul", "rdma_rxe", "ib_uverbs", "rdma_ucm", "sch_netem",
           "sch_tbf", "sch_htb", "cls_u32")
PROBE_SECONDS = 40

INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "/modules/$module"; done </modules/order
share="-t 9p -o trans=virtio,version=9p2000.L,msize=524288"
$b mount $share,cache=loose,ro files /below
$b mount -t tmpfs layer /layer
$b mkdir -p /layer/upper /layer/work
$b mount -t overlay -o lowerdir=/below,upperdir=/layer/upper,workdir=/layer/work overlay /all
for folder in proc sys dev; do $b mount --move /$folder /all/$folder; done
$b mkdir -p /all/dev/shm
$b mount -t tmpfs shm /all/dev/shm
$b mount -t tmpfs run /all/run
$b mkdir -p /all/run/out
$b mount $share,cache=none out /all/run/out
$b cp /job /all/run/job
exec $b switch_root /all /bin/bash /run/job
"""

JOB = """export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export OUT=/run/out
ulimit -l unlimited
hostname softroce
ip link set lo up
cd {folder}
echo "{mark} begins"
{command}
echo "{mark} ends $?"
sync
/bin/busybox poweroff -f
"""


def missing():
    """Why no machine can be made here; empty where one can."""
    lacking = sorted({package for tool, package in NEEDS.items() if shutil.which(tool) is None})
    if lacking:
        return f"needs {', '.join(lacking)}: apt-get install {' '.join(lacking)}"
    return ""


def run(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **more)
    if done.returncode != 0:
        raise Refused(f"{' '.join(map(str, command))[:200]}: {done.stdout.strip()[-500:]}")
    return done.stdout


class Machine:
    """`cache` keeps the kernel and what is loaded first; it is made when it is missing."""

    def __init__(self, cache, memory_mib=3072, cpus=2):
        why = missing()
        if why:
            raise Refused(f"a virtual machine {why}")
        self.cache = pathlib.Path(cache)
        self.memory_mib = memory_mib
        self.cpus = cpus
        self.kernel = self._kernel()
        self.root = self._first_files()
        self.accelerator = self._accelerator()

    def _kernel(self):
        """Debian's, unpacked; only the package is fetched."""
        folder = self.cache / "kernel"
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            depends = run("apt-cache", "depends", "linux-image-amd64")
            names = [word for word in depends.split() if word.startswith("linux-image-")]
            if len(names) < 2:
                raise Refused("apt knows no linux-image-amd64 here: apt-get update")
            run("apt-get", "download", names[1], cwd=folder)
            package = next(folder.glob("*.deb"))
            run("dpkg", "-x", package, folder)
            package.unlink()
            version = next((folder / "lib/modules").iterdir()).name
            run("depmod", "-b", folder, version)
            (folder / "complete").touch()
        return folder

    def _first_files(self):
        """What the kernel starts with: busybox, the modules in order, and the first program."""
        version = next((self.kernel / "lib/modules").iterdir()).name
        made_of = hashlib.sha256(f"{version} {MODULES} {INIT}".encode()).hexdigest()[:16]
        folder = self.cache / f"first-{made_of}"
        if (folder / "init").exists():
            return folder
        for name in ("bin", "modules", "proc", "sys", "dev", "all", "below", "layer"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(shutil.which("busybox"), folder / "bin/busybox")
        order = []
        for module in MODULES:
            lines = run("modprobe", "-d", self.kernel, "-S", version, "--show-depends", module)
            for line in lines.splitlines():
                words = line.split()
                if words[0] == "insmod" and words[1] not in order:
                    order.append(words[1])
        for path in order:
            shutil.copy(path, folder / "modules")
        names = [pathlib.Path(path).name for path in order]
        (folder / "modules/order").write_text("\n".join(names) + "\n")
        (folder / "init").write_text(INIT)
        (folder / "init").chmod(0o755)
        return folder

    def _accelerator(self):
        """KVM may be there and still not boot a machine, so that is tried, once."""
        noted = self.cache / "accelerator"
        if not noted.exists():
            choice = "tcg"
            if os.access("/dev/kvm", os.R_OK | os.W_OK):
                self.accelerator = "kvm"
                if self.run(["true"], PROBE_SECONDS, quiet=True) == 0:
                    choice = "kvm"
            noted.write_text(choice + "\n")
        return noted.read_text().strip()

    def run(self, command, seconds, out=None, quiet=False):
        """Boots, runs the command in our working folder, powers off. Gives the command's exit
        status, or 124 where time was up and 125 where the machine ended without one. What the
        command writes to $OUT is then in `out`."""
        with tempfile.TemporaryDirectory() as scratch:
            image = self._image(pathlib.Path(scratch), mark := secrets.token_hex(8), command)
            share = pathlib.Path(out) if out else pathlib.Path(scratch) / "out"
            share.mkdir(parents=True, exist_ok=True)
            process = subprocess.Popen(self._qemu(image, share), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                       errors="replace", start_new_session=True)
            return self._follow(process, mark, seconds, quiet)

    @staticmethod
    def _follow(process, mark, seconds, quiet):
        status = 125
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            is_ours = False  # Before and behind the command the machine talks of itself.
            for line in process.stdout:
                text, at, word = line.rstrip("\r\n").partition(mark)
                if is_ours and text and not quiet:
                    print(text, flush=True)
                if at:
                    is_ours = "begins" in word
                    status = status if is_ours else int(word.split()[1])
        finally:
            is_over = not timer.is_alive()
            timer.cancel()
            process.kill()
            process.wait()
        return 124 if is_over and status == 125 else status

    def _image(self, scratch, mark, command):
        folder = scratch / "first"
        shutil.copytree(self.root, folder)
        job = JOB.format(folder=shlex.quote(os.getcwd()), mark=mark,
                         command=" ".join(shlex.quote(str(word)) for word in command))
        (folder / "job").write_text(job)
        image = scratch / "first.cpio.gz"
        run("sh", "-c", f"find . | cpio -o -H newc 2>/dev/null | gzip -1 >{image}", cwd=folder)
        return image

    def _qemu(self, image, share):
        processor = "host" if self.accelerator == "kvm" else "max"
        threads = ",thread=multi" if self.accelerator == "tcg" else ""
        kernel = next((self.kernel / "boot").glob("vmlinuz-*"))
        return ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64",
                "-accel", self.accelerator + threads, "-cpu", processor,
                "-m", str(self.memory_mib), "-smp", str(self.cpus), "-nodefaults", "-nographic",
                "-no-reboot", "-serial", "stdio", "-nic", "none", "-kernel", str(kernel),
                "-initrd", str(image), "-append", "console=ttyS0 loglevel=1 panic=-1",
                "-fsdev", "local,id=files,path=/,security_model=none,readonly=on,multidevs=remap",
                "-device", "virtio-9p-pci,fsdev=files,mount_tag=files",
                "-fsdev", f"local,id=out,path={share},security_model=none",
                "-device", "virtio-9p-pci,fsdev=out,mount_tag=out"]
