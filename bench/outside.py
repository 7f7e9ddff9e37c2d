#!/usr/bin/env python3
"""Measures what the triggers cost that log changes made past the gateway: the same UPDATE by psql, without the triggers, with
them but marked as the gateway marks its own, and logged by them.

bench/README.md has more. Everything it makes lies in target/bench.
"""

import re
import statistics
import sys
from pathlib import Path

# No folder of compiled files beside the sources.
sys.dont_write_bytecode = True

from gateway import Failure, Gateway  # noqa: E402
from measuring import WORK_DIR, describe_machine, find_program, run_main, say, surroundings  # noqa: E402

HERE = Path(__file__).resolve().parent
OWN_DIR = WORK_DIR / "writes"
ONE_BOARD = "UPDATE nodes SET x = x + 1 WHERE board_id = (SELECT board_id FROM bench.boards WHERE number = {})"
ALL_BOARDS = "UPDATE nodes SET x = x + 1"
# What comes before the statement, and what comes after it.
WAYS = {
    "none": ("ALTER TABLE nodes DISABLE TRIGGER nodes_outside_update",
             "ALTER TABLE nodes ENABLE TRIGGER nodes_outside_update"),
    "there, not fired: marked as the gateway's": ("SET ragboard.gateway = 'on'", "SELECT"),
    "fired: the change is logged": ("SET ragboard.gateway = 'off'", "SELECT"),
}


def main() -> None:
    program = find_program()
    machine = describe_machine(program)
    OWN_DIR.mkdir(parents=True, exist_ok=True)
    with Gateway(program, OWN_DIR) as gateway:
        machine["postgres"] = gateway.psql("--command=SHOW server_version").strip()
        say("Making the boards")
        gateway.psql(f"--file={HERE / 'writes.sql'}", within_s=600)
        small = {way: [] for way in WAYS}
        large = {way: [] for way in WAYS}
        # In turn, so that whatever else goes on meets all alike; the first round warms up.
        for number in range(1, 32):
            for way in WAYS:
                small[way].append(timed(gateway, way, ONE_BOARD.format(number)))
        for _ in range(6):
            for way in WAYS:
                large[way].append(timed(gateway, way, ALL_BOARDS))
    print(f"\n{surroundings(machine)}\n\n| triggers on `nodes` | 500 nodes of a board, ms | 100,000 nodes of 200 boards, ms |\n|---|--:|--:|")
    for way in WAYS:
        print(f"| {way} | {statistics.median(small[way][1:]):.1f} | {statistics.median(large[way][1:]):,.0f} |")


def timed(gateway: Gateway, way: str, statement: str) -> float:
    """How long the statement took, in ms, as psql says."""
    before, after = WAYS[way]
    told = gateway.psql("-c", before, "-c", "\\timing on", "-c", statement, "-c", "\\timing off", "-c", after, within_s=300)
    took = re.search(r"Time: ([\d.]+) ms", told)
    if took is None:
        raise Failure(f"psql did not say how long it took: {told}")
    return float(took.group(1))


if __name__ == "__main__":
    run_main(main, OWN_DIR / "gateway.log")
