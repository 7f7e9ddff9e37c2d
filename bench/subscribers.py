#!/usr/bin/env python3
"""Measures what ten thousand quiet subscribers cost, and how a gateway with them comes through a pause of its database.

1. Quiet: CPU time of the gateway and of PostgreSQL, and SQL statements in a second, while nothing happens.
2. Pause: all processes of PostgreSQL are stopped for 3 s and go on. Measured from then: how long until a read is quick, until a
   change is answered, and until every subscriber of that board has heard it; then SQL statements in a second again.

bench/README.md says what is measured exactly, and what it needs. Everything it makes lies in target/bench.
"""

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass

# No folder of compiled files beside the sources.
sys.dont_write_bytecode = True

from followers import OPENED_AT_ONCE, OWN_DIR, QUIET_AFTER_S, allow_files, count, loaded, source  # noqa: E402
from gateway import Failure, Gateway, children_of  # noqa: E402
from listening import FOLLOW, Board, Listener, move, place_in_log, read_boards  # noqa: E402
from measuring import (  # noqa: E402
    OWNER, WORK_DIR, cell, describe_machine, find_program, positive, run_main, say, surroundings)
from sockets import Follower, Writer  # noqa: E402

READ = "query ($board: ID!) { board(id: $board) { name version } }"
# A read that takes no longer is quick.
QUICK_MS = 50
# So many in a row, and all is as it was.
QUICK_READS = 20
# After a pause, statements are counted for so long.
AFTERWARDS_S = 10
GIVEN_UP_AFTER_S = 120


@dataclass(frozen=True)
class Quiet:
    """What subscribers cost while nothing happens."""

    gateway_cpu_percent: float
    postgres_cpu_percent: float
    sql_statements_per_s: float
    busiest: dict[str, float]


@dataclass(frozen=True)
class Pause:
    """How it goes on after a pause, in s since PostgreSQL went on."""

    seconds: float
    reads_quick_after_s: float
    slowest_read_s: float
    change_answered_after_s: float
    heard_by_all_after_s: float
    closed: int
    sql_statements_per_s: float


def main() -> None:
    options = read_options()
    program = find_program()
    allow_files(options.subscribers)
    machine = describe_machine(program)
    with loaded(program, machine) as gateway:
        token = gateway.run("token", OWNER).strip()
        quiet, pause = asyncio.run(measure(gateway, read_boards(gateway)[:options.boards], token, options))
    results = {"machine": machine, "options": vars(options), "quiet": asdict(quiet), "pause": asdict(pause)}
    (WORK_DIR / "subscribers.json").write_text(json.dumps(results, indent=2) + "\n")
    print(report(machine, options, quiet, pause))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures quiet subscribers and a pause; bench/README.md has more.")
    parser.add_argument("--subscribers", type=count, default=10_000, help="subscribers (default: 10,000)")
    parser.add_argument("--boards", type=count, default=100, help="boards that they follow, at most 198 (default: 100)")
    parser.add_argument("--idle", type=positive, default=20, help="seconds of quiet that are measured (default: 20)")
    parser.add_argument("--pause", type=positive, default=3, help="seconds for which PostgreSQL stops (default: 3)")
    options = parser.parse_args()
    options.boards = min(options.boards, 198)
    return options


async def measure(gateway: Gateway, boards: list[Board], token: str,
                  options: argparse.Namespace) -> tuple[Quiet, Pause]:
    """Opens all subscribers, and measures them quiet and after a pause."""
    each = options.subscribers // len(boards)
    if not each:
        raise Failure("There must be as many subscribers as boards, or more")
    listener, closed = Listener(), []
    writer = await Writer.connect(gateway.port, token)
    gate = asyncio.Semaphore(OPENED_AT_ONCE)

    async def enter(number: int, board: Board, after: str) -> Follower:
        async with gate:
            follower = await Follower.connect(gateway.port, token, listener.note, closed.append, source(number))
            follower.subscribe(FOLLOW, {"board": board.id, "after": after})
            return follower

    places = [(board, await place_in_log(writer, board)) for board in boards]
    say(f"opening {each * len(boards):,} sockets")
    followers = await asyncio.gather(*(enter(number, *place) for number, place in enumerate(places * each)))
    # Nothing else says that a subscription is in place.
    listener.expect("here", each * len(boards))
    for board in boards:
        await move(writer, board, "here")
    await listener.heard()
    if closed:
        raise closed[0]
    # The garbage collection of this process shall not look at all of them again while it measures.
    gc.collect()
    gc.freeze()
    await asyncio.sleep(QUIET_AFTER_S)
    say(f"quiet for {options.idle} s")
    quiet = await measure_quiet(gateway, options.idle)
    say(f"PostgreSQL pauses for {options.pause} s")
    pause = await measure_pause(gateway, boards[0], each, writer, listener, closed, options.pause)
    for follower in followers:
        follower.close()
    writer.close()
    return quiet, pause


async def measure_quiet(gateway: Gateway, seconds: float) -> Quiet:
    def now() -> tuple[float, float, float]:
        return gateway.cpu_s(), gateway.postgres_cpu_s(), time.monotonic()

    before, named_before = now(), gateway.sql_statements_by_name()
    await asyncio.sleep(seconds)
    after, named_after = now(), gateway.sql_statements_by_name()
    gateway_s, postgres_s, took = (end - begin for begin, end in zip(before, after, strict=True))
    ran = {name: (count - named_before.get(name, 0)) / took for name, count in named_after.items()}
    busiest = dict(sorted(((name, rate) for name, rate in ran.items() if rate), key=lambda one: -one[1])[:5])
    return Quiet(gateway_s / took * 100, postgres_s / took * 100, sum(ran.values()), busiest)


async def measure_pause(gateway: Gateway, board: Board, each: int, writer: Writer, listener: Listener,
                        closed: list[Failure], seconds: float) -> Pause:
    """Stops every process of PostgreSQL for a while, as a container that is paused, and waits until all is as before."""
    stopped = [gateway.postmaster_pid, *children_of(gateway.postmaster_pid)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        for pid in stopped:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
    began = time.monotonic()
    listener.expect("after the pause", each)
    changing = asyncio.create_task(change(gateway, board, writer, began))
    quick_after, slowest = await read_until_quick(gateway, board, writer.token, began)
    changed_after = await changing
    await listener.heard()
    heard_after = max(listener.moments) / 1e9 - time.perf_counter_ns() / 1e9 + time.monotonic() - began
    before = gateway.sql_statements(), time.monotonic()
    await asyncio.sleep(AFTERWARDS_S)
    rate = (gateway.sql_statements() - before[0]) / (time.monotonic() - before[1])
    return Pause(seconds, quick_after, slowest, changed_after, heard_after, len(closed), rate)


async def change(gateway: Gateway, board: Board, writer: Writer, began: float) -> float:
    """Changes a board as soon as that is possible; when it was answered."""
    while True:
        try:
            await move(writer, board, "after the pause")
            return time.monotonic() - began
        except (Failure, OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            if time.monotonic() - began > GIVEN_UP_AFTER_S:
                raise Failure("No change was possible after the pause") from None
            await asyncio.sleep(0.05)
            writer.reader, writer.writer = await asyncio.open_connection("127.0.0.1", gateway.port)


async def read_until_quick(gateway: Gateway, board: Board, token: str, began: float) -> tuple[float, float]:
    """Reads a board again and again, until so many reads in a row are quick; when the first of those began, and the slowest."""
    reader = await Writer.connect(gateway.port, token)
    quick, first, slowest = 0, 0.0, 0.0
    while quick < QUICK_READS:
        asked = time.monotonic()
        if asked - began > GIVEN_UP_AFTER_S:
            raise Failure("Reads never became quick again")
        try:
            await reader.send(READ, {"board": board.id})
            took = time.monotonic() - asked
        except (Failure, OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            took = time.monotonic() - asked + QUICK_MS
            reader = await Writer.connect(gateway.port, token)
        slowest = max(slowest, time.monotonic() - asked)
        if took * 1000 > QUICK_MS:
            quick = 0
            continue
        first = asked - began if not quick else first
        quick += 1
        await asyncio.sleep(0.02)
    reader.close()
    return first, slowest


def report(machine: dict[str, object], options: argparse.Namespace, quiet: Quiet, pause: Pause) -> str:
    """The results in Markdown."""
    rows = [
        (f"subscribers on {options.boards} boards, one socket each", cell(options.subscribers, 0)),
        ("CPU of the gateway while nothing happens, % of a core", cell(quiet.gateway_cpu_percent, 1)),
        ("CPU of PostgreSQL meanwhile, % of a core", cell(quiet.postgres_cpu_percent, 1)),
        ("SQL statements in a second meanwhile", cell(quiet.sql_statements_per_s, 1)),
        (f"after a pause of {pause.seconds:g} s: reads are quick, s", cell(pause.reads_quick_after_s, 2)),
        ("slowest read, s", cell(pause.slowest_read_s, 2)),
        ("a change is answered, s", cell(pause.change_answered_after_s, 2)),
        ("all of its board have heard it, s", cell(pause.heard_by_all_after_s, 2)),
        ("sockets that the gateway closed", cell(pause.closed, 0)),
        ("SQL statements in a second afterwards", cell(pause.sql_statements_per_s, 1)),
    ]
    busiest = ", ".join(f"{name} {rate:.1f}" for name, rate in quiet.busiest.items())
    lines = [f"On {surroundings(machine)}", "", "| quiet subscribers, and a pause | |", "|---|--:|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows), "", f"Statements in a second: {busiest}"])


if __name__ == "__main__":
    run_main(main, OWN_DIR / "gateway.log")
