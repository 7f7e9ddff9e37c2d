#!/usr/bin/env python3
"""Measures the gateway under load: how many requests a second, how fast, and at what cost in CPU time and memory.

Three requests (a board page, nested folders, a node by its id) on 10,000 boards, each with what is in memory used and
not used, and beside them the bare SQL of the same requests as the floor of what reading from PostgreSQL can cost. It is
for comparing versions of the program on one quiet machine. It is not a test: it checks that answers are right, not that
they are fast. And it does not say how many users a server bears: load and server share one machine here.

bench/README.md says what it needs. Everything it makes lies in target/bench.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

# No folder of compiled files beside the sources.
sys.dont_write_bytecode = True

import load  # noqa: E402
from gateway import Failure, Gateway  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK_DIR = ROOT / "target/bench"
OWNER = "bench@ragboard.example"
LOADED_WITHIN_S = 1800
# So long PostgreSQL may go on with what was cut off when a run ended.
SETTLING_S = 1
# Crockford's base 32, in which the API writes ids.
ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
NO_CACHE = {"Cache-Control": "no-cache"}


@dataclass(frozen=True)
class Request:
    """One kind of request: a document, its SQL, and what it is asked about in turn."""

    # Of the files NAME.graphql and NAME.sql.
    name: str
    title: str
    # What its id names, the table of the ids, and their column.
    prefix: str
    ids: str
    # Objects with an id in a whole answer.
    objects: int


REQUESTS = [
    Request("board_page", "board page", "board", "board_id FROM bench.boards", 1 + 50 + 100),
    Request("nested_folders", "nested folders", "node", "node_id FROM bench.folders", 1 + 20 + 400 + 8000),
    Request("node", "node by id", "node", "node_id FROM bench.nodes", 1),
]

# How requests are sent: what is in memory may be used or not, and each may be one that was not sent before.
MODES = {"cached": ({}, False), "anew": ({}, True), "cold": (NO_CACHE, False)}


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


def main() -> None:
    options = read_options()
    # As Ctrl-C: whatever runs is stopped on the way out.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    program = Path(os.environ.get("RAGBOARD") or ROOT / "target/release/ragboard").resolve()
    if not program.is_file():
        raise Failure(f"There is no {program}: run cargo build --release, or name another program in RAGBOARD")
    if not shutil.which("wrk"):
        raise Failure("There is no wrk; bench/README.md says what is needed")
    WORK_DIR.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(program)
    with Gateway(program, WORK_DIR) as gateway:
        machine["postgres"] = gateway.psql("--command=SHOW server_version").strip()
        ensure_dataset(gateway)
        token = gateway.run("token", OWNER).strip()
        measurements = []
        for request in REQUESTS:
            if not options.only or request.name in options.only:
                measurements += measure(gateway, request, token, options)
    results = {"machine": machine, "options": vars(options), "measurements": [asdict(one) for one in measurements]}
    (WORK_DIR / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(table(machine, options, measurements))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures the gateway under load; bench/README.md has more.")
    parser.add_argument("--only", action="append", choices=[request.name for request in REQUESTS],
                        help="measure this request; may be given several times (default: all)")
    parser.add_argument("--seconds", type=positive, default=15, help="length of a measured run (default: 15)")
    parser.add_argument("--warm-up", type=positive, default=5, help="seconds of load before it (default: 5)")
    parser.add_argument("--connections", type=positive, default=8, help="requests at a time (default: 8)")
    return parser.parse_args()


def positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 600:
        raise argparse.ArgumentTypeError("give a number from 1 to 600")
    return number


def describe_machine(program: Path) -> dict[str, object]:
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True,
                            check=False).stdout.strip()
    return {"cpu": cpu, "cores": os.cpu_count(), "load_average": os.getloadavg()[0], "commit": commit or None,
            "program": str(program), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def ensure_dataset(gateway: Gateway) -> None:
    """Loads dataset.sql unless that was done before."""
    path = HERE / "dataset.sql"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if gateway.psql("--command=SELECT to_regclass('bench.dataset')").strip():
        if gateway.psql("--command=SELECT digest FROM bench.dataset").strip() != digest:
            raise Failure(f"The data are of another {path.name}: remove {gateway.data_dir}, then they are made anew")
        return
    say("loading 500,000 nodes, once; this takes some minutes")
    began = time.monotonic()
    # Of an interrupted load its empty pages are left, and plans for tables that seem to have no rows would be bad ones.
    gateway.psql("--command=VACUUM", within_s=LOADED_WITHIN_S)
    gateway.psql("--single-transaction", f"--set=digest={digest}", f"--file={path}", within_s=LOADED_WITHIN_S)
    # Here, and not by autovacuum while something is measured.
    gateway.psql("--command=VACUUM (FREEZE, ANALYZE)", "--command=CHECKPOINT", within_s=LOADED_WITHIN_S)
    say(f"loaded within {time.monotonic() - began:.0f} s")


def measure(gateway: Gateway, request: Request, token: str, options: argparse.Namespace) -> list[Measurement]:
    """All modes of one request, and its SQL."""
    document = (HERE / f"{request.name}.graphql").read_text()
    uuids = gateway.psql(f"--command=SELECT {request.ids} ORDER BY number").split()
    bodies = [json.dumps({"query": document, "variables": {"id": type_id(request.prefix, uuid)}}) for uuid in uuids]
    authorization = {"Authorization": f"Bearer {token}"}
    right_answers = gateway.answers(bodies, authorization | NO_CACHE)
    for answer in right_answers:
        check(request, answer)
    lengths = [len(answer) for answer in right_answers]
    body_file = WORK_DIR / "bodies.txt"

    measurements = []
    for mode, (headers, is_anew) in MODES.items():
        # What differs is the value of a variable that the document does not use; see wrk.lua for the tab.
        sent = [body.replace('"variables": {', '"variables": {"run": "\t", ') if is_anew else body for body in bodies]
        body_file.write_text("\n".join(sent) + "\n")
        drive = partial(load.wrk, gateway, body_file, range(min(lengths), max(lengths) + 1), headers, token,
                        options.connections)
        measurements.append(measured(gateway, request, mode, drive, options))
        # What is in memory after the run is what was served during it.
        if gateway.answers([body.replace("\t", "check") for body in sent], authorization | headers) != right_answers:
            raise Failure(f"{request.title}: answers in the mode {mode} are not those that PostgreSQL gives")
    drive = partial(load.pgbench, gateway, HERE / f"{request.name}.sql", options.connections)
    measurements.append(measured(gateway, request, "SQL", drive, options))
    return measurements


def check(request: Request, answer: bytes) -> None:
    """Holds an answer against what the request is about."""
    read = json.loads(answer)
    if "errors" in read:
        raise Failure(f"{request.title}: the answer has errors: {read['errors'][:3]}")
    if (objects := answer.count(b'"id":')) != request.objects:
        raise Failure(f"{request.title}: the answer has {objects} objects instead of {request.objects}: {answer[:500]!r}")


def measured(gateway: Gateway, request: Request, mode: str, drive: Callable[[int], load.Load],
             options: argparse.Namespace) -> Measurement:
    """Warms up for some seconds, drives for the seconds measured, and divides by the number of requests."""
    say(f"{request.title}, {mode}")
    drive(options.warm_up)
    time.sleep(SETTLING_S)
    statements, cpu_s, postgres_cpu_s = gateway.sql_statements(), gateway.cpu_s(), gateway.postgres_cpu_s()
    done = drive(options.seconds)
    cpu_s, postgres_cpu_s = gateway.cpu_s() - cpu_s, gateway.postgres_cpu_s() - postgres_cpu_s
    statements = gateway.sql_statements() - statements
    is_sql = mode == "SQL"
    return Measurement(
        request=request.title, mode=mode, requests=done.requests, seconds=done.seconds,
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


def table(machine: dict[str, object], options: argparse.Namespace, measurements: list[Measurement]) -> str:
    """The results in Markdown."""
    def cell(value: float | None, digits: int) -> str:
        return "–" if value is None else f"{value:,.{digits}f}"

    lines = [
        f"{options.connections} connections, {options.seconds} s each, on {machine['cores']} cores ({machine['cpu']}), "
        f"PostgreSQL {machine['postgres']}; load average {machine['load_average']:.1f} before the start.",
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


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"error: {failure}\nWhat the gateway said, if it was started, is in {WORK_DIR / 'gateway.log'}.")
    except KeyboardInterrupt:
        sys.exit(130)
