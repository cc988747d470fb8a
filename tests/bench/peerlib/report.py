# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures as one table (Markdown), or as JSON."""
import json
import os
import platform

from .bench import NOISE_MAX
from .rows import CPU_TO_GLUSTER_MAX, MEMORY_MAX_MIB, ROWS, SETS_MIN, SETS_ROWS

SUBJECTS = ["xfs", "passthrough", "polder", "polder-tls", "gluster", "moosefs"]


def ratio(figures, other, of="median"):
    ours, theirs = getattr(figures, of)("polder"), getattr(figures, of)(other)
    return ours / theirs if ours is not None and theirs else None


def judge(value, floor, less_is_better=False):
    """True: reached. None: no floor, or no figure."""
    if value is None or floor is None:
        return None
    return value <= floor if less_is_better else value >= floor


def rows_of(bench):
    """Everything that the table shows, as plain data."""
    floors = {row.name: row for row in ROWS}
    for (name, threads), figures in bench.figures.items():
        row = floors.get(name)
        if row is None:
            continue
        ratios = {other: ratio(figures, other) for other in ("passthrough", "gluster", "moosefs")}
        wanted = {"passthrough": row.passthrough, "gluster": row.gluster, "moosefs": row.moosefs}
        cpu = ratio(figures, "gluster", "median_cpu")
        short = [other for other in wanted if judge(ratios[other], wanted[other]) is False]
        if judge(cpu, CPU_TO_GLUSTER_MAX, less_is_better=True) is False:
            short.append("cpu")
        yield {"row": name, "threads": threads, "unit": row.unit,
               "rate": {s: figures.median(s) for s in SUBJECTS}, "cpu_us": {s: figures.median_cpu(s) for s in SUBJECTS},
               "runs": dict(figures.rates), "ratio": ratios, "floor": wanted, "cpu_to_gluster": cpu,
               "cpu_floor": CPU_TO_GLUSTER_MAX, "short": short, "other_load_max": max(figures.noise, default=0),
               "errors": figures.errors}


def number(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def against(value, floor, form, less_is_better=False):
    """The value and its floor; the sign between them says whether it is reached."""
    if value is None:
        return "–"
    reached = judge(value, floor, less_is_better)
    if reached is None:
        return form(value)
    sign = ("≤" if less_is_better else "≥") if reached else (">" if less_is_better else "<")
    return f"{form(value)} {sign} {form(floor)}"


def percent(value):
    return f"{value:.0%}"


def times(value):
    return f"{value:.2f}×"


def table(head, lines):
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]

    def show(line):
        return "| " + " | ".join(cell.ljust(width) if at == 0 else cell.rjust(width)
                                 for at, (cell, width) in enumerate(zip(line, widths))) + " |"
    rule = "|" + "|".join("-" * (width + 2) if at == 0 else "-" * (width + 1) + ":" for at, width in enumerate(widths)) + "|"
    return "\n".join([show(head), rule, *map(show, lines)])


def main_table(rows, subjects):
    others = [(other, title, form) for other, title, form in
              [("passthrough", "of passthrough", percent), ("gluster", "to gluster", times), ("moosefs", "to moosefs", times)]
              if other in subjects and "polder" in subjects]
    lines = []
    for row in rows:
        lines.append([f"{row['row']}, {row['threads']}", row["unit"], *(number(row["rate"][s]) for s in subjects),
                      *(against(row["ratio"][other], row["floor"][other], form) for other, _, form in others),
                      "short" if set(row["short"]) - {"cpu"} else ""])
    for row in rows:
        cpu = {"gluster": against(row["cpu_to_gluster"], CPU_TO_GLUSTER_MAX, times, less_is_better=True)}
        lines.append([f"CPU: {row['row']}, {row['threads']}", "µs/MiB" if row["unit"] == "MiB/s" else "µs/op",
                      *(number(row["cpu_us"][s]) for s in subjects), *(cpu.get(other, "") for other, _, _ in others),
                      "short" if "cpu" in row["short"] else ""])
    return table(["", "unit", *subjects, *(title for _, title, _ in others), ""], lines)


def sets_rows(figures, counts):
    names = [f"sets{count}" for count in counts]
    for row in SETS_ROWS:
        both = figures.get((row, 1))
        if both is None:
            continue
        few, many = map(both.median, names)
        kept = many / few if few and many else None
        yield {"row": row, "rate": {name: both.median(name) for name in names},
               "cpu_us": {name: both.median_cpu(name) for name in names}, "ratio": kept, "floor": SETS_MIN,
               "short": judge(kept, SETS_MIN) is False}


def sets_table(rows, counts):
    names = [f"sets{count}" for count in counts]
    head = ["1 thread", *(f"{count} sets/s" for count in counts), "ratio", *(f"CPU {count}, µs/op" for count in counts), ""]
    return table(head, [[row["row"], *(number(row["rate"][name]) for name in names), against(row["ratio"], row["floor"], times),
                         *(number(row["cpu_us"][name]) for name in names), "short" if row["short"] else ""] for row in rows])


def memory_rows(memory):
    for subject, sizes in memory.items():
        floors = MEMORY_MAX_MIB if subject.startswith("polder") else {}
        yield {"subject": subject, "measured": sizes, "floor": floors,
               "short": [stage for stage, most in floors.items() if sizes[stage] > most]}


def memory_table(rows, files):
    stages = {"daemons idle": "daemons idle", "daemons loaded": "after", "client idle": "client idle",
              "client loaded": f"after {files:,} files", "client dropped": "after drop_caches", "idle CPU": "idle CPU, ms/s"}
    return table(["resident, MiB", *stages.values(), ""],
                 [[row["subject"], *(against(row["measured"][stage], row["floor"].get(stage), lambda value: f"{value:.0f}", True)
                                     for stage in stages), "short" if row["short"] else ""] for row in rows])


def warnings(bench):
    noisy = [(max(figures.noise), name, threads) for (name, threads), figures in bench.figures.items()
             if figures.noise and max(figures.noise) > NOISE_MAX]
    if not noisy:
        return []
    worst, name, threads = max(noisy)
    return [f"WARNING: the machine was not idle: other programs used up to {worst:.0%} of a CPU ({name}, {threads}), more than "
            f"{NOISE_MAX:.0%} in {len(noisy)} of {len(bench.figures)} rows. Repeat on an idle machine."]


def machine_line():
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"Linux {platform.release()}, {os.cpu_count()} CPUs, {memory_gib:.0f} GiB"


def as_json(**parts):
    print(json.dumps(parts, indent=1, ensure_ascii=False))
