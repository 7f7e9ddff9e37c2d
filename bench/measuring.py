"""What the benchmarks share: which program and machine are measured, the ids of the API, one measured run, and the table.

Nothing here starts or loads anything; see gateway.py and load.py.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway import Failure, Gateway
from load import Load

ROOT = Path(__file__).resolve().parent.parent
WORK_DIR = ROOT / "target/bench"
OWNER = "bench@ragboard.example"
# So long PostgreSQL may go on with what was cut off when a run ended.
SETTLING_S = 1
# Crockford's base 32, in which the API writes ids.
ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True)
class Measurement:
    """One line of the table. What only a gateway has is None for SQL."""

    request: str
    mode: str
    requests: int
    seconds: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    answer_bytes: float | None
    gateway_cpu_ms: float | None
    postgres_cpu_ms: float
    sql_statements: float | None
    gateway_resident_mib: float | None


def run_main(main: Callable[[], None], log: Path) -> None:
    """Runs a benchmark as a program: what ends it is said in a line, and whatever it started is stopped."""
    # As Ctrl-C: whatever runs is stopped on the way out.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        main()
    except Failure as failure:
        sys.exit(f"error: {failure}\nWhat the gateway said, if it was started, is in {log}.")
    except KeyboardInterrupt:
        sys.exit(130)


def find_program() -> Path:
    """The program that is measured."""
    program = Path(os.environ.get("RAGBOARD") or ROOT / "target/release/ragboard").resolve()
    if not program.is_file():
        raise Failure(f"There is no {program}: run cargo build --release, or name another program in RAGBOARD")
    return program


def describe_machine(program: Path) -> dict[str, object]:
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True,
                            check=False).stdout.strip()
    return {"cpu": cpu, "cores": os.cpu_count(), "load_average": os.getloadavg()[0], "commit": commit or None,
            "program": str(program), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def measured(gateway: Gateway, title: str, mode: str, drive: Callable[[int], Load], options: argparse.Namespace,
             is_sql: bool) -> Measurement:
    """Warms up for some seconds, drives for the seconds measured, and divides by the number of requests."""
    say(f"{title}, {mode}")
    drive(options.warm_up)
    time.sleep(SETTLING_S)
    statements, cpu_s, postgres_cpu_s = gateway.sql_statements(), gateway.cpu_s(), gateway.postgres_cpu_s()
    done = drive(options.seconds)
    cpu_s, postgres_cpu_s = gateway.cpu_s() - cpu_s, gateway.postgres_cpu_s() - postgres_cpu_s
    statements = gateway.sql_statements() - statements
    return Measurement(
        request=title, mode=mode, requests=done.requests, seconds=done.seconds,
        requests_per_s=done.requests / done.seconds, p50_ms=done.p50_ms, p99_ms=done.p99_ms,
        answer_bytes=None if is_sql else done.answer_bytes / done.requests,
        gateway_cpu_ms=None if is_sql else cpu_s * 1000 / done.requests,
        postgres_cpu_ms=postgres_cpu_s * 1000 / done.requests,
        sql_statements=None if is_sql else statements / done.requests,
        gateway_resident_mib=None if is_sql else gateway.resident_mib())


def type_id(prefix: str, uuid: str) -> str:
    """The id of the API for a row: 128 bits in 26 groups of five, the first one shorter."""
    bits = int(uuid.replace("-", ""), 16)
    return f"{prefix}_" + "".join(ID_ALPHABET[bits >> 5 * place & 31] for place in reversed(range(26)))


def surroundings(machine: dict[str, object]) -> str:
    """The machine in a sentence."""
    return (f"{machine['cores']} cores ({machine['cpu']}), PostgreSQL {machine['postgres']}; "
            f"load average {machine['load_average']:.1f} before the start.")


def cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def table(machine: dict[str, object], options: argparse.Namespace, measurements: list[Measurement]) -> str:
    """The results of runs in Markdown."""
    lines = [
        f"{options.connections} connections, {options.seconds} s each, on {surroundings(machine)}",
        "",
        "| request | mode | requests/s | p50, ms | p99, ms | answer, kB | gateway CPU, ms/request "
        "| PostgreSQL CPU, ms/request | SQL statements/request | gateway memory, MiB |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in measurements:
        kilobytes = None if one.answer_bytes is None else one.answer_bytes / 1000
        cells = [one.request, one.mode, cell(one.requests_per_s, 0), cell(one.p50_ms, 2), cell(one.p99_ms, 2),
                 cell(kilobytes, 1), cell(one.gateway_cpu_ms, 3), cell(one.postgres_cpu_ms, 3),
                 cell(one.sql_statements, 2), cell(one.gateway_resident_mib, 0)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 600:
        raise argparse.ArgumentTypeError("give a number from 1 to 600")
    return number


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
