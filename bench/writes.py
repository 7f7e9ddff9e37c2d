#!/usr/bin/env python3
"""Measures writing: how many mutations a second, how fast, and at what cost, beside the SQL that does the same.

Moving one node, making a resource, and moving 500 nodes at once, on 200 boards in turn; moving one node of always the same
board, where each mutation waits for the one before; and the SQL statements of every kind of mutation.

bench/README.md says what is measured exactly, and what it needs. Everything it makes lies in target/bench.
"""

import argparse
import json
import shutil
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

# No folder of compiled files beside the sources.
sys.dont_write_bytecode = True

import load  # noqa: E402
from gateway import Failure, Gateway  # noqa: E402
from kinds import count_statements, kinds_table  # noqa: E402
from measuring import (  # noqa: E402
    OWNER, WORK_DIR, Measurement, describe_machine, find_program, measured, positive, run_main, say, table, type_id)

HERE = Path(__file__).resolve().parent
OWN_DIR = WORK_DIR / "writes"
BOARDS = 200
NODES = 500
# A node is moved to so many places in turn, so that a mutation always changes something.
PLACES = 8
# Where something was not done, the list has a reason.
DONE = '"userErrors":[]'
# The lengths of answers say nothing here.
ANSWER_BYTES = range(40, 1 << 20)


@dataclass(frozen=True)
class Work:
    """One kind of mutation: a document with its SQL, and how much of what it changes."""

    name: str
    title: str
    # Of the files DOCUMENT.graphql and DOCUMENT.sql.
    document: str
    boards: int
    # Nodes that one mutation moves; 0 if it makes one.
    moved: int


WORKS = [
    Work("move", "move a node", "move_nodes", BOARDS, 1),
    Work("hot", "move a node, one board", "move_nodes", 1, 1),
    Work("create", "create a resource", "create_resource", BOARDS, 0),
    Work("batch", "move 500 nodes", "move_nodes", 25, NODES),
]


def main() -> None:
    options = read_options()
    program = find_program()
    if not shutil.which("wrk"):
        raise Failure("There is no wrk; bench/README.md says what is needed")
    OWN_DIR.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(program)
    with Gateway(program, OWN_DIR) as gateway:
        machine["postgres"] = gateway.psql("--command=SHOW server_version").strip()
        durable = gateway.psql("--command=SELECT current_setting('synchronous_commit'), current_setting('fsync')").strip()
        machine["synchronous_commit, fsync"] = durable.replace("|", ", ")
        say("loading 200 boards with 100,000 nodes")
        gateway.psql(f"--file={HERE / 'writes.sql'}", within_s=600)
        token = gateway.run("token", OWNER).strip()
        rows = gateway.psql("--command=SELECT k.board_id, n.node_id FROM bench.boards k "
                            "JOIN bench.nodes n ON n.board_number = k.number ORDER BY k.number, n.number").split()
        nodes: dict[str, list[str]] = {}
        for board, node in (row.split("|") for row in rows):
            nodes.setdefault(type_id("board", board), []).append(type_id("node", node))
        measurements = []
        for work in WORKS:
            if work.name in options.only:
                measurements += measure(gateway, work, nodes, token, options)
        statements = count_statements(gateway, token) if "statements" in options.only else {}
    results = {"machine": machine, "options": vars(options), "measurements": [asdict(one) for one in measurements],
               "statements": statements}
    (WORK_DIR / "writes.json").write_text(json.dumps(results, indent=2) + "\n")
    if measurements:
        print(table(machine, options, measurements))
        print(f"\nsynchronous_commit, fsync: {machine['synchronous_commit, fsync']}, for both.")
    if statements:
        print(kinds_table(statements))


def read_options() -> argparse.Namespace:
    names = [work.name for work in WORKS] + ["statements"]
    parser = argparse.ArgumentParser(description="Measures writing; bench/README.md has more.")
    parser.add_argument("--only", action="append", choices=names,
                        help="measure this; may be given several times (default: all)")
    parser.add_argument("--seconds", type=positive, default=15, help="length of a measured run (default: 15)")
    parser.add_argument("--warm-up", type=positive, default=5, help="seconds of load before it (default: 5)")
    parser.add_argument("--connections", type=positive, default=8, help="requests at a time (default: 8)")
    options = parser.parse_args()
    options.only = options.only or names
    return options


def measure(gateway: Gateway, work: Work, nodes: dict[str, list[str]], token: str,
            options: argparse.Namespace) -> list[Measurement]:
    """One kind of mutation, and its SQL."""
    body_file = OWN_DIR / "bodies.txt"
    document = (HERE / f"{work.document}.graphql").read_text()
    given = inputs(work, nodes)
    body_file.write_text("".join(json.dumps({"query": document, "variables": {"input": one}}) + "\n" for one in given))
    ways = {
        "gateway": partial(load.wrk, gateway, body_file, ANSWER_BYTES, {}, token, options.connections, held=DONE),
        "SQL": partial(load.pgbench, gateway, HERE / f"{work.document}.sql", options.connections, boards=work.boards,
                       moved=work.moved),
    }
    measurements = []
    for mode, drive in ways.items():
        # Here, and not by autovacuum while something is measured.
        gateway.psql("--command=VACUUM (ANALYZE)", "--command=CHECKPOINT", within_s=600)
        before = log_and_versions(gateway)
        one = measured(gateway, work.title, mode, drive, options, is_sql=mode == "SQL")
        check(work, one, before, log_and_versions(gateway))
        measurements.append(one)
    return measurements


def inputs(work: Work, nodes: dict[str, list[str]]) -> list[dict[str, object]]:
    """What mutations are sent, in turn: from board to board, and all nodes before one of them comes again."""
    boards = list(nodes.items())[:work.boards]
    common = {"clientMutationId": "a change of the benchmark"}
    if not work.moved:
        return [common | {"boardId": board, "title": "A note", "position": {"x": number, "y": number},
                          "content": "What we know, and what we still want to find out."}
                for number, (board, _) in enumerate(boards)]
    if work.moved == NODES:
        chosen = boards
    else:
        turns = NODES if work.boards == 1 else 20
        chosen = [(board, [ids[turn]]) for turn in range(turns) for board, ids in boards]
    return [common | {"boardId": board, "moves": [
                {"id": node, "position": {"x": place * 1000 + number, "y": number}} for number, node in enumerate(ids)]}
            for place in range(PLACES) for board, ids in chosen]


def log_and_versions(gateway: Gateway) -> tuple[int, int]:
    """How many entries the log has, and the sum of all boards' versions."""
    row = gateway.psql("--command=SELECT (SELECT count(*) FROM board_events), (SELECT sum(version) FROM boards)").strip()
    events, versions = row.split("|")
    return int(events), int(versions)


def check(work: Work, one: Measurement, before: tuple[int, int], after: tuple[int, int]) -> None:
    """Holds what was answered against what is in the database: a version and an entry of the log for each."""
    events, versions = (end - begin for begin, end in zip(before, after, strict=True))
    if events != versions or events < one.requests:
        raise Failure(f"{work.title}, {one.mode}: {one.requests} were answered in the measured run alone, and in the log are "
                      f"{events} more, while the versions grew by {versions}")


if __name__ == "__main__":
    run_main(main, OWN_DIR / "gateway.log")
