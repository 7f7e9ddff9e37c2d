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
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

# No folder of compiled files beside the sources.
sys.dont_write_bytecode = True

import load  # noqa: E402
from gateway import Failure, Gateway  # noqa: E402
from measuring import (  # noqa: E402
    OWNER, WORK_DIR, Measurement, describe_machine, find_program, measured, positive, run_main, say, table, type_id)

HERE = Path(__file__).resolve().parent
LOADED_WITHIN_S = 1800
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


def main() -> None:
    options = read_options()
    program = find_program()
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
        measurements.append(measured(gateway, request.title, mode, drive, options, is_sql=False))
        # What is in memory after the run is what was served during it.
        if gateway.answers([body.replace("\t", "check") for body in sent], authorization | headers) != right_answers:
            raise Failure(f"{request.title}: answers in the mode {mode} are not those that PostgreSQL gives")
    drive = partial(load.pgbench, gateway, HERE / f"{request.name}.sql", options.connections)
    measurements.append(measured(gateway, request.title, "SQL", drive, options, is_sql=True))
    return measurements


def check(request: Request, answer: bytes) -> None:
    """Holds an answer against what the request is about."""
    read = json.loads(answer)
    if "errors" in read:
        raise Failure(f"{request.title}: the answer has errors: {read['errors'][:3]}")
    if (objects := answer.count(b'"id":')) != request.objects:
        raise Failure(f"{request.title}: the answer has {objects} objects instead of {request.objects}: {answer[:500]!r}")


if __name__ == "__main__":
    run_main(main, WORK_DIR / "gateway.log")
