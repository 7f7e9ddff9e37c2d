#!/usr/bin/env python3
"""Measures following a board: how soon after a commit it is heard, and what ten thousand quiet followers cost.

1. Latency: one client moves nodes and follows the board itself, so that one clock sees both; on one gateway, and with the
   mutations sent to another gateway on the same database.
2. Many: 10,000 sockets with one subscription each on 100 boards of one gateway: memory of each, CPU time while nothing
   happens, and how soon one event is heard by the 100 that follow its board.

bench/README.md says what is measured exactly, and what it needs. Everything it makes lies in target/bench.
"""

import argparse
import asyncio
import gc
import json
import random
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

# No folder of compiled files beside the sources.
sys.dont_write_bytecode = True

from gateway import Failure, Gateway  # noqa: E402
from listening import FOLLOW, Board, Listener, move, place_in_log, read_boards  # noqa: E402
from measuring import (  # noqa: E402
    OWNER, WORK_DIR, cell, describe_machine, find_program, positive, run_main, say, surroundings)
from sockets import Follower, Writer  # noqa: E402

HERE = Path(__file__).resolve().parent
OWN_DIR = WORK_DIR / "writes"
# Between two events, up to this: longer than any poll of the gateway, so that they meet it in all its phases.
PAUSE_S = 0.3
# Sockets being opened at a time, and sockets from one loopback address: limits of each address are not what is measured.
OPENED_AT_ONCE = 64
OF_ONE_ADDRESS = 10
WARM_UP_EVENTS = 20
# After opening, so that what opening cost is over.
QUIET_AFTER_S = 5
# Beside the sockets, a process has the files it begins with.
SPARE_FILES = 200

@dataclass(frozen=True)
class Latency:
    """How soon events were heard, in ms: since their mutation was sent, and since its answer was there."""

    way: str
    events: int
    answer_p50: float
    from_sending_p50: float
    from_sending_p99: float
    from_answer_p50: float
    from_answer_p99: float
    from_answer_most: float


@dataclass(frozen=True)
class Many:
    """What many followers cost, and when one event was heard by those of its board, in ms since its mutation was sent."""

    followers: int
    boards: int
    opened_per_s: float
    kb_each: float
    idle_gateway_cpu_percent: float
    idle_postgres_cpu_percent: float
    idle_sql_statements_per_s: float
    events: int
    answer_p50: float
    first_p50: float
    median_p50: float
    last_p50: float
    last_most: float


def count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100_000:
        raise argparse.ArgumentTypeError("give a number from 1 to 100,000")
    return number


@contextmanager
def loaded(program: Path, machine: dict[str, object]) -> Iterator[Gateway]:
    """A running gateway with the data of `writes.sql`; the version of its PostgreSQL is noted in `machine`."""
    OWN_DIR.mkdir(parents=True, exist_ok=True)
    with Gateway(program, OWN_DIR) as gateway:
        machine["postgres"] = gateway.psql("--command=SHOW server_version").strip()
        say("loading 200 boards with 100,000 nodes")
        gateway.psql(f"--file={HERE / 'writes.sql'}", within_s=600)
        gateway.psql("--command=VACUUM (FREEZE, ANALYZE)", "--command=CHECKPOINT", within_s=600)
        yield gateway


def main() -> None:
    options = read_options()
    program = find_program()
    allow_files(options.followers)
    machine = describe_machine(program)
    with loaded(program, machine) as gateway:
        token = gateway.run("token", OWNER).strip()
        boards = read_boards(gateway)
        latencies = []
        if "latency" in options.only:
            latencies.append(asyncio.run(latency("one gateway", gateway, gateway, boards[0], token, options.events)))
            with Gateway(program, OWN_DIR, first=gateway) as second:
                latencies.append(
                    asyncio.run(latency("two gateways", second, gateway, boards[1], token, options.events)))
        many = None
        if "many" in options.only:
            many = asyncio.run(follow_many(gateway, boards[2:][:options.boards], token, options))
    results = {"machine": machine, "options": vars(options), "latencies": [asdict(one) for one in latencies],
               "many": asdict(many) if many else None}
    (WORK_DIR / "followers.json").write_text(json.dumps(results, indent=2) + "\n")
    print(report(machine, latencies, many))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures following a board; bench/README.md has more.")
    parser.add_argument("--only", action="append", choices=["latency", "many"], help="measure this (default: both)")
    parser.add_argument("--events", type=count, default=300, help="events of each latency (default: 300)")
    parser.add_argument("--followers", type=count, default=10_000, help="followers on one gateway (default: 10,000)")
    parser.add_argument("--boards", type=count, default=100, help="boards that they follow, at most 198 (default: 100)")
    parser.add_argument("--rounds", type=count, default=100, help="events that they are told (default: 100)")
    parser.add_argument("--idle", type=positive, default=20, help="seconds of quiet that are measured (default: 20)")
    options = parser.parse_args()
    options.only = options.only or ["latency", "many"]
    options.boards = min(options.boards, 198)
    return options


def allow_files(followers: int) -> None:
    """Lets this process and the gateway open as many sockets as are wanted."""
    needed = followers + SPARE_FILES
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < needed:
        raise Failure(f"{followers} followers need {needed} open files, and {most} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))


async def latency(way: str, asked: Gateway, followed: Gateway, board: Board, token: str, events: int) -> Latency:
    """Follows a board on one gateway, and moves a node through another, or the same."""
    say(f"latency, {way}")
    listener = Listener()
    writer = await Writer.connect(asked.port, token)
    follower = await Follower.connect(followed.port, token, listener.note, listener.fail)
    follower.subscribe(FOLLOW, {"board": board.id, "after": await place_in_log(writer, board)})

    async def tell(name: str) -> tuple[int, int, int]:
        listener.expect(name, 1)
        sent_ns, answered_ns = await move(writer, board, name)
        return sent_ns, answered_ns, (await listener.heard())[0]

    for number in range(WARM_UP_EVENTS):
        await tell(f"warm-up {number}")
    told = []
    for number in range(events):
        await asyncio.sleep(random.uniform(0, PAUSE_S))
        told.append(await tell(f"event {number}"))
    follower.close()
    writer.close()
    answer = sorted((answered - sent) / 1e6 for sent, answered, _ in told)
    from_sending = sorted((at - sent) / 1e6 for sent, _, at in told)
    from_answer = sorted((at - answered) / 1e6 for _, answered, at in told)
    return Latency(way, events, part(answer, 50), part(from_sending, 50), part(from_sending, 99), part(from_answer, 50),
                   part(from_answer, 99), from_answer[-1])


def part(ordered: list[float], percent: int) -> float:
    """The value that so many of a hundred do not exceed."""
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


async def follow_many(gateway: Gateway, boards: list[Board], token: str, options: argparse.Namespace) -> Many:
    """Opens all followers, measures them while it is quiet, and then tells one event after the other."""
    each = options.followers // len(boards)
    if not each:
        raise Failure("There must be as many followers as boards, or more")
    total = each * len(boards)
    listener = Listener()
    writer = await Writer.connect(gateway.port, token)

    async def enter(number: int, board: Board, after: str) -> Follower:
        async with gate:
            follower = await Follower.connect(gateway.port, token, listener.note, listener.fail, source(number))
            follower.subscribe(FOLLOW, {"board": board.id, "after": after})
            return follower

    async def tell(told: list[Board], name: str) -> tuple[int, int, list[int]]:
        listener.expect(name, each * len(told))
        for board in told:
            sent_ns, answered_ns = await move(writer, board, name)
        return sent_ns, answered_ns, await listener.heard()

    gate = asyncio.Semaphore(OPENED_AT_ONCE)
    places = [(board, await place_in_log(writer, board)) for board in boards]
    resident_mib, began = gateway.resident_mib(), time.monotonic()
    say(f"opening {total:,} sockets, {resident_mib:.0f} MiB before")
    entering = (enter(number, *place) for number, place in enumerate(places * each))
    followers = await asyncio.gather(*entering)
    # Nothing else says that a subscription is in place.
    await tell(boards, "here")
    opened_s = time.monotonic() - began
    say(f"all there after {opened_s:.1f} s")
    # The garbage collection of this process shall not look at all of them again while it measures.
    gc.collect()
    gc.freeze()
    await asyncio.sleep(QUIET_AFTER_S)
    kb_each = (gateway.resident_mib() - resident_mib) * 2**20 / 1000 / total

    say(f"quiet for {options.idle} s, {gateway.resident_mib():.0f} MiB")
    before = gateway.cpu_s(), gateway.postgres_cpu_s(), gateway.sql_statements(), time.monotonic()
    await asyncio.sleep(options.idle)
    after = gateway.cpu_s(), gateway.postgres_cpu_s(), gateway.sql_statements(), time.monotonic()
    gateway_s, postgres_s, statements, seconds = (end - begin for begin, end in zip(before, after, strict=True))

    say("telling events")
    told = []
    for number in range(options.rounds):
        await asyncio.sleep(random.uniform(0, PAUSE_S))
        sent_ns, answered_ns, moments = await tell([boards[number % len(boards)]], f"round {number}")
        told.append(((answered_ns - sent_ns) / 1e6, [(at - sent_ns) / 1e6 for at in sorted(moments)]))
    for follower in followers:
        follower.close()
    writer.close()
    return Many(
        followers=total, boards=len(boards), opened_per_s=total / opened_s, kb_each=kb_each,
        idle_gateway_cpu_percent=gateway_s / seconds * 100, idle_postgres_cpu_percent=postgres_s / seconds * 100,
        idle_sql_statements_per_s=statements / seconds, events=options.rounds,
        answer_p50=statistics.median(answer for answer, _ in told),
        first_p50=statistics.median(heard[0] for _, heard in told),
        median_p50=statistics.median(statistics.median(heard) for _, heard in told),
        last_p50=statistics.median(heard[-1] for _, heard in told), last_most=max(heard[-1] for _, heard in told))


def source(number: int) -> str:
    """The address of a socket: 127.1.0.1 and on, since whatever begins with 127 is loopback."""
    address = number // OF_ONE_ADDRESS + 1
    return f"127.{1 + (address >> 16)}.{address >> 8 & 255}.{address & 255}"


def report(machine: dict[str, object], latencies: list[Latency], many: Many | None) -> str:
    """The results in Markdown."""
    lines = [f"On {surroundings(machine)}"]
    if latencies:
        lines += ["", "| writer and follower on | events | mutation answered, p50, ms | heard after sending, p50, ms | p99, ms "
                  "| heard after the answer, p50, ms | p99, ms | most, ms |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
    for one in latencies:
        cells = [one.way, str(one.events), cell(one.answer_p50, 1), cell(one.from_sending_p50, 1),
                 cell(one.from_sending_p99, 1), cell(one.from_answer_p50, 1), cell(one.from_answer_p99, 1),
                 cell(one.from_answer_most, 1)]
        lines.append(f"| {' | '.join(cells)} |")
    if many:
        rows = [
            (f"followers on {many.boards} boards, one socket each", cell(many.followers, 0)),
            ("opened in a second", cell(many.opened_per_s, 0)),
            ("memory of the gateway for each, kB", cell(many.kb_each, 1)),
            ("CPU of the gateway while nothing happens, % of a core", cell(many.idle_gateway_cpu_percent, 1)),
            ("CPU of PostgreSQL meanwhile, % of a core", cell(many.idle_postgres_cpu_percent, 1)),
            ("SQL statements in a second meanwhile", cell(many.idle_sql_statements_per_s, 1)),
            ("a change is answered, p50, ms after sending", cell(many.answer_p50, 1)),
            (f"heard by the first of {many.followers // many.boards}, p50, ms", cell(many.first_p50, 1)),
            ("heard by half of them, p50, ms", cell(many.median_p50, 1)),
            ("heard by the last, p50, ms", cell(many.last_p50, 1)),
            (f"heard by the last, most of {many.events}, ms", cell(many.last_most, 1)),
        ]
        lines += ["", "| many followers | |", "|---|--:|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines)


if __name__ == "__main__":
    run_main(main, OWN_DIR / "gateway.log")
