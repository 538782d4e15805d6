"""The devices under test of scripts/bench-compare. Each measurement starts what it needs anew, and yields one report."""

import contextlib
import os
import pathlib
import platform
import subprocess

from .lab import Failure, run, say

# Where the generator sends to when it does not ask by ARP. Nobody checks it.
ANY_MAC = "02:00:00:00:00:09"
# Of these `natgate bench` makes its addresses: the gateway's own, and the generator's as its neighbour.
INSIDE, OUTSIDE = ("10.0.0.1/24", "10.0.0.2"), ("203.0.113.2/24", "203.0.113.1")
CLIENTS = "10.1.0.0/16"
# Packets a second that the kernel is offered first, and how they rise, until so many steps in a row brought less.
SWEEP_FROM, SWEEP_BY, SWEEP_END = 200_000, 1.25, 3


def throughput(report):
    """The highest rate of a report."""
    return max(row["packets_per_second"]["median"] for row in report["rows"] if row["trial"] == "throughput")


class Memif:
    """A pair of memif sockets between the generator and a device under test. Servers copy frames, clients need not."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.device_is_server = lab.args.copies == "device"
        self.role, other = ("server", "client") if self.device_is_server else ("client", "server")
        self.sockets = [lab.directory / f"{name}-{side}.sock" for side in ("in", "out")]
        self.devices, self.generators = (
            [f"memif:{socket},{role}" for socket in self.sockets] for role in (self.role, other))

    def measure(self, command, *options):
        """Servers first, since a client finds nobody otherwise."""
        lab, args = self.lab, self.lab.args
        for socket in self.sockets:
            socket.unlink(missing_ok=True)
        trials = ["throughput"] if args.no_latency else ["throughput", "latency"]
        sessions = ",".join(map(str, args.sessions))
        options = ["--sessions", sessions, "--tolerance", args.tolerance, *options]
        with contextlib.ExitStack() as running:
            started = None
            if self.device_is_server:
                lab.wait_for(self.sockets, *running.enter_context(lab.process(self.name, command)))
            else:
                def started(child, log):
                    lab.wait_for(self.sockets, child, log)
                    running.enter_context(lab.process(self.name, command))
            report = lab.bench(self.name, trials, self.generators, *options, started=started)
        for row in report["rows"]:
            if row["verdict"] != "pass":
                raise Failure(f"{self.name}, {row['sessions']} sessions, {row['trial']}: {row['verdict']['fail']}; "
                              "if that is noise of the machine, allow some with --tolerance 0.001%")
        return report


def testpmd(lab):
    """dpdk-testpmd with devices like natgate's: rings of 1024, buffers of one frame."""
    memif = Memif(lab, "testpmd")
    devices = [f"--vdev=net_memif{index},role={memif.role},id=0,socket={socket},socket-abstract=no,bsize=2304"
               for index, socket in enumerate(memif.sockets)]
    command = [
        "dpdk-testpmd", "--in-memory", "--single-file-segments", "--no-pci", "--iova-mode=va", "--no-telemetry",
        f"--lcores=0@{lab.generator_cpu},1@{lab.device_cpu}", *devices, "--", "--forward-mode=mac", "--burst=64",
        "--rxd=1024", "--txd=1024", "--nb-cores=1", "--total-num-mbufs=16384", "--disable-link-check",
        "--no-lsc-interrupt"]
    return memif.measure(command, "--expect", "forwarded", "--gateway-mac", ANY_MAC)


def natgate(lab):
    """natgate run with the config that `natgate bench config` prints, its worker on the device's CPU."""
    memif = Memif(lab, "natgate")
    text = run(lab.binary, "bench", "config", "--inside", memif.devices[0], "--outside", memif.devices[1],
               "--sessions", max(*lab.args.sessions, 65_536) * 5 // 4)
    workers = "workers = 1\n"
    if workers not in text:
        raise Failure("natgate bench config prints no \"workers = 1\" any more")
    own = (f"cpus = [{lab.device_cpu}]\ncontrol = \"{lab.directory}/control.sock\"\n"
           f"state = \"{lab.directory}/state\"\n")
    config = lab.directory / "natgate.toml"
    config.write_text(text.replace(workers, workers + own))
    return memif.measure([lab.binary, "run", "-c", config])


class Kernel:
    """Two namespaces, the generator's and the kernel's, with two veth pairs between them."""

    def __init__(self, lab):
        self.lab = lab
        self.generator, self.gateway = (f"natgate-bench-{os.getpid()}-{side}" for side in ("generator", "kernel"))
        for name in (self.generator, self.gateway):
            run("ip", "netns", "add", name)
            lab.undo.callback(subprocess.run, ["ip", "netns", "del", name], check=False, capture_output=True)
            self.sysctl(name, "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
            run("ip", "-n", name, "link", "set", "lo", "up")
        self.sysctl(self.gateway, "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
                    "net.ipv4.conf.default.rp_filter=0")
        for end, (address, _) in (("inside", INSIDE), ("outside", OUTSIDE)):
            self.wire(end, address)
        run("ip", "-n", self.gateway, "route", "add", CLIENTS, "via", INSIDE[1])
        run("ip", "-n", self.gateway, "route", "add", "default", "via", OUTSIDE[1])
        self.translate()
        self.make_room()

    def sysctl(self, name, *settings):
        run("ip", "netns", "exec", name, "sysctl", "-qw", *settings)

    def wire(self, end, address):
        run("ip", "link", "add", f"g-{end}", "netns", self.generator, "type", "veth",
            "peer", "name", end, "netns", self.gateway)
        run("ip", "-n", self.gateway, "address", "add", address, "dev", end)
        mask = f"{1 << self.lab.device_cpu:x}"
        # Frames of 32 CPUs each, as the kernel writes masks.
        mask = ",".join(mask.zfill(-(-len(mask) // 8) * 8)[at:at + 8] for at in range(0, len(mask), 8))
        for name, interface in ((self.generator, f"g-{end}"), (self.gateway, end)):
            run("ip", "netns", "exec", name, "ethtool", "-K", interface, "tx", "off")
            run("ip", "-n", name, "link", "set", interface, "up")
        run("ip", "netns", "exec", self.gateway, "sh", "-c",
            f"echo {mask} >/sys/class/net/{end}/queues/rx-0/rps_cpus")

    def translate(self):
        """Masquerade; with a flowtable if the kernel takes one."""
        nat = """table ip nat {
            chain post { type nat hook postrouting priority 100; oifname "outside" masquerade; }
        }"""
        flows = """table ip fast {
            flowtable f { hook ingress priority 0; devices = { inside, outside }; }
            chain forward { type filter hook forward priority 0; ip protocol udp flow add @f; }
        }"""
        nft = ["ip", "netns", "exec", self.gateway, "nft", "-f", "-"]
        run(*nft, input=nat)
        try:
            run(*nft, input=flows)
            self.how = "nftables masquerade with a flowtable"
        except Failure:
            self.how = "nftables masquerade (this kernel has no flowtable)"
        say(f"kernel: {self.how}, Linux {platform.release()}, generator over {self.lab.args.kernel_device}")

    def make_room(self):
        """For twice the sessions in the kernel's table, which all namespaces share the bounds of."""
        wanted = 2 * max(self.lab.args.sessions)
        # Each sets the other, so that the second one is put back last.
        for file in ("/proc/sys/net/netfilter/nf_conntrack_max", "/sys/module/nf_conntrack/parameters/hashsize"):
            path = pathlib.Path(file)
            before = path.read_text().strip()
            if int(before) < wanted:
                path.write_text(str(wanted))
                self.lab.undo.callback(path.write_text, before)

    def bench(self, trial, sessions, rate):
        """One rate; whatever was lost or could not be sent: what came out counts."""
        devices = [f"{self.lab.args.kernel_device}:g-{end}" for end in ("inside", "outside")]
        report = self.lab.bench("kernel", [trial], devices, "--sessions", sessions, "--rate", rate,
                                "--tolerance", "100%", within=["ip", "netns", "exec", self.generator])
        for row in report["rows"]:
            row["verdict"] = "pass"
        return report

    def measure(self):
        """The best of a sweep for each number of sessions, and latency at half of it."""
        result = None
        for sessions in self.lab.args.sessions:
            best, rate, worse = None, SWEEP_FROM, 0
            while worse < SWEEP_END:
                report = self.bench("throughput", sessions, round(rate))
                if best is None or throughput(report) > throughput(best):
                    best, worse = report, 0
                else:
                    worse += 1
                rate *= SWEEP_BY
            if not self.lab.args.no_latency:
                best["rows"] += self.bench("latency", sessions, max(throughput(best) // 2, 1))["rows"]
            if result is None:
                result = best
            else:
                result["rows"] += best["rows"]
        return result
