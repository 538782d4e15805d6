"""What all runs of scripts/bench-compare share: natgate's binary, hugepages, processes, the generator. What is changed on the
machine is undone by the `ExitStack` that a `Lab` is given, whatever happens.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
# Seconds that a process has to start and to stop.
PATIENCE = 30


class Failure(Exception):
    """Why the comparison can not be made."""


def say(text):
    print(f"natgate: {text}", file=sys.stderr, flush=True)


def run(*command, **options):
    """Runs a command; its output. Fails with what it said."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def shell(text):
    """Runs a text with what scripts/setup.sh offers."""
    script = f"set -euo pipefail; . scripts/setup.sh; {text}"
    if subprocess.run(["bash", "-c", script], cwd=REPOSITORY, stdout=sys.stderr).returncode != 0:
        raise Failure("the line above says why")


class Lab:
    """What all runs share."""

    def __init__(self, args, undo):
        self.args = args
        self.undo = undo
        self.generator_cpu, self.device_cpu = args.cpus
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="natgate-bench-"))
        undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.binary = pathlib.Path(args.binary).resolve() if args.binary else self.build()

    def build(self):
        say("building natgate (some minutes the first time)")
        shell('install_packages "${BUILD_PACKAGES[@]}"; need_rust; cargo build --release --locked --quiet')
        return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "release/natgate"

    def reserve_hugepages(self):
        """For the frames of two processes, the sessions and the generator's own table of them."""
        pages = pathlib.Path("/proc/sys/vm/nr_hugepages")
        mebibytes = 768 + max(self.args.sessions) * 200 // (1 << 20)
        self.undo.callback(pages.write_text, pages.read_text())
        say(run(REPOSITORY / "scripts/hugepages", "reserve", f"{mebibytes}M").strip())

    @contextlib.contextmanager
    def process(self, name, command):
        """A process that is there until the block ends at the latest; yields it and the file of what it says."""
        log = self.directory / f"{name}.log"
        with log.open("w") as out:
            # testpmd ends when its standard input does.
            child = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=out, stderr=out)
        try:
            yield child, log
        finally:
            child.terminate()
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            child.stdin.close()

    def wait_for(self, files, child, log):
        """Until a process has made these files."""
        end = time.monotonic() + PATIENCE
        while not all(file.exists() for file in files):
            if child.poll() is not None or time.monotonic() > end:
                raise Failure(f"{log.stem} does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)

    def bench(self, name, trials, devices, *options, within=(), started=None):
        """One run of the generator between two devices; its report. `started` is called with the process and its log."""
        args, file = self.args, self.directory / "report.json"
        file.unlink(missing_ok=True)
        command = [
            *within, self.binary, "bench", *trials, "--inside", devices[0], "--outside", devices[1], "--name", name,
            "--frame-size", args.frame_size, "--direction", args.direction, "--duration", args.duration,
            "--core", self.generator_cpu, "--json", file, *options]
        with self.process("generator", command) as (child, log):
            if started:
                started(child, log)
            failed = child.wait() != 0
        report = json.loads(file.read_text()) if file.exists() else {"rows": []}
        # A wrong packet ends a run before its last row. A rate that was not reached is in a row.
        if failed and not any(row["trial"] == trials[-1] for row in report["rows"]):
            raise Failure(f"{name}: the generator failed:\n{log.read_text()[-2000:]}")
        return report
