"""What scripts/bench-compare prints and writes: `runs` are the reports of each device, one a run."""

import json
import pathlib
import platform
import statistics

from .lab import run


def rates(runs, sessions):
    """The throughput of each run."""
    rows = [row for report in runs for row in report["rows"]]
    return [row["packets_per_second"]["median"] for row in rows
            if row["trial"] == "throughput" and row["sessions"] == sessions]


def spread(values, digits):
    middle, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def comparison(args, runs):
    """For each number of sessions: the rates of each device, and natgate's share of the others' in the same run."""
    rows = []
    for sessions in args.sessions:
        found = {name: rates(runs[name], sessions) for name in args.only}
        ratios = {}
        for other in args.only:
            if other != "natgate" and "natgate" in found:
                ratios[f"natgate/{other}"] = [one / two for one, two in zip(found["natgate"], found[other])]
        rows.append({"sessions": sessions, "packets_per_second": found, "ratio": ratios})
    return rows


def columns(lines):
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths)).rstrip())


def latencies(args, runs):
    lines = [["latency, µs", "sessions", "way", "p50", "p99", "p99.9", "max"]]
    for sessions in args.sessions:
        for name in args.only:
            rows = [row for report in runs[name] for row in report["rows"]
                    if row["trial"] == "latency" and row["sessions"] == sessions and "latency" in row]
            for way in ("out", "back"):
                of = [row["latency"] for row in rows if row["direction"] == way]
                if of:
                    figures = [statistics.median(one[key] for one in of) / 1_000
                               for key in ("p50_ns", "p99_ns", "p99_9_ns", "max_ns")]
                    lines.append([name, f"{sessions:,}", way, *(f"{figure:,.1f}" for figure in figures)])
    return lines


def write_text(args, runs, kernel):
    about = next(iter(runs.values()))[0]["about"]
    runs_of = f"medians of {args.runs} interleaved runs (lowest to highest)" if args.runs > 1 else "one run"
    print(f"{about['cpu_model']}, natgate {about['natgate_version']}")
    print(f"frames of {args.frame_size}, direction {args.direction}; {runs_of}")
    if kernel:
        print(f"kernel: {kernel.how}, Linux {platform.release()}, over veth and {args.kernel_device}; best rate of a sweep")
    print()
    found = comparison(args, runs)
    lines = [["sessions", *(f"{name}, M packets/s" for name in args.only), *found[0]["ratio"]]]
    for row in found:
        millions = [[rate / 1e6 for rate in row["packets_per_second"][name]] for name in args.only]
        lines.append([f"{row['sessions']:,}", *(spread(values, 2) for values in millions),
                      *(spread(values, 2) for values in row["ratio"].values())])
    columns(lines)
    lines = latencies(args, runs)
    if len(lines) > 1:
        print("\nat half of each one's own rate:\n")
        columns(lines)


def write_files(lab, runs):
    args, reports = lab.args, [report for name in lab.args.only for report in runs[name]]
    result = {"reports": reports, "summary": comparison(args, runs)}
    if args.json == "-":
        print(json.dumps(result, indent=2))
    elif args.json:
        pathlib.Path(args.json).write_text(json.dumps(result, indent=2) + "\n")
    if args.plot:
        file, folder = lab.directory / "all.json", pathlib.Path(args.plot)
        file.write_text(json.dumps(result))
        folder.mkdir(parents=True, exist_ok=True)
        for what in ["rate", "cycles"] + ([] if args.no_latency else ["latency"]):
            run(lab.binary, "bench", "plot", file, "--what", what, "-o", folder / f"{what}.svg")
