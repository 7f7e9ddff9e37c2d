#!/usr/bin/env python3
"""Measures what one attacker does to others: an innocent reader and an innocent writer, each with an account and a board of
its own, beside each of thirteen attacks.

The gateway is started with a PostgreSQL of its own on data made anew. The attacker runs in a process of its own, the innocents
in this one: the reader asks for a board page every 20 ms, the writer moves a node every 50 ms, and `/livez` is asked every
100 ms. What one of them waits for an answer is its latency. bench/README.md says more.
"""

import argparse
import asyncio
import json
import multiprocessing
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

# No folder of compiled files beside the sources.
sys.dont_write_bytecode = True

from gateway import Failure, Gateway  # noqa: E402
from measuring import (  # noqa: E402
    WORK_DIR, cell, describe_machine, find_program, positive, run_main, say, surroundings)
from sockets import TEXT, Follower  # noqa: E402

OWN_DIR = WORK_DIR / "attacks"
READ_EVERY_S, WRITE_EVERY_S, LOOK_EVERY_S = 0.02, 0.05, 0.1
# An answer that takes longer counts as an error of the gateway.
ANSWER_WITHIN_S = 35
NODES = 50
PAGE = """query ($id: ID!) { board(id: $id) { id name version owner { id }
  nodes(first: 50) { nodes { __typename id position { x y } ... on ResourceNode { title content } } } } }"""
MOVE = """mutation ($input: UpdateResourceNodeInput!) { updateResourceNode(input: $input) {
  board { version } userErrors { message } } }"""
MAKE_BOARD = "mutation ($name: String!) { createBoard(input: { name: $name }) { board { id } userErrors { message } } }"
MAKE_NODE = """mutation ($input: CreateResourceNodeInput!) { createResourceNode(input: $input) {
  node { id } userErrors { message } } }"""
TYPE = "kind name ofType { kind name ofType { kind name ofType { kind name } } }"
INTROSPECTION = f"""{{ __schema {{ queryType {{ name }} mutationType {{ name }} subscriptionType {{ name }}
  types {{ kind name description fields(includeDeprecated: true) {{ name description args {{ name description defaultValue type {{ {TYPE} }} }}
    type {{ {TYPE} }} isDeprecated deprecationReason }} inputFields {{ name description defaultValue type {{ {TYPE} }} }}
    interfaces {{ name }} enumValues(includeDeprecated: true) {{ name description }} possibleTypes {{ name }} }}
  directives {{ name locations args {{ name type {{ {TYPE} }} }} }} }} }}"""


class Connection:
    """One HTTP/1.1 connection that is kept, and opened again when it was closed."""

    def __init__(self, port: int, token: str | None):
        self.port, self.token = port, token
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, query: str, variables: dict[str, object] | None = None) -> tuple[int, bytes]:
        """The status and the body of an answer."""
        return await self.post(json.dumps({"query": query, "variables": variables or {}}).encode())

    async def post(self, body: bytes) -> tuple[int, bytes]:
        bearer = f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        return await self._exchange(f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{bearer}"
                                    f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def get(self, path: str) -> tuple[int, bytes]:
        return await self._exchange(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        try:
            return await asyncio.wait_for(self._sent(request), ANSWER_WITHIN_S)
        except BaseException:
            self.close()
            raise

    async def _sent(self, request: bytes) -> tuple[int, bytes]:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        self.writer.write(request)
        await self.writer.drain()
        return await self._answer()

    async def _answer(self) -> tuple[int, bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status, *fields = head.split("\r\n")
        named = dict(line.split(": ", 1) for line in fields if ": " in line)
        if "content-length" in named:
            body = await self.reader.readexactly(int(named["content-length"]))
        elif named.get("transfer-encoding") == "chunked":
            body = b""
            while length := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
                body += (await self.reader.readexactly(length + 2))[:-2]
            await self.reader.readexactly(2)
        else:
            body = await self.reader.read()
        if named.get("connection") == "close":
            self.close()
        return int(status.split()[1]), body

    def close(self) -> None:
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None


@dataclass
class Waits:
    """What one innocent waited for its answers, in ms, and how many of these were errors."""

    ms: list[float] = field(default_factory=list)
    errors: int = 0

    def percentile(self, part: float) -> float:
        ordered = sorted(self.ms) or [0.0]
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


@dataclass(frozen=True)
class Line:
    """One line of the table; times in ms."""

    attack: str
    reader_p50: float
    reader_p99: float
    writer_p50: float
    writer_p99: float
    errors: int
    attacker_per_s: float
    livez_most: float


@dataclass(frozen=True)
class Target:
    """What an attacker knows."""

    port: int
    token: str
    boards: list[str]
    texts: list[str]


Attack = Callable[[Target, int, int], Awaitable[None]]


async def repeated(target: Target, make: Callable[[int], tuple[str, dict[str, object]]], number: int, is_anonymous: bool = False) -> None:
    """Asks once on a connection that is given up afterwards where it was closed."""
    connection = CONNECTIONS.setdefault(number, Connection(target.port, None if is_anonymous else target.token))
    await connection.ask(*make(number))


# The connections of the attacker's process, by number.
CONNECTIONS: dict[int, Connection] = {}
ROUNDS: dict[int, int] = {}


def round_of(number: int) -> int:
    ROUNDS[number] = ROUNDS.get(number, 0) + 1
    return ROUNDS[number]


async def events_by_alias(target: Target, number: int, _: int) -> None:
    fields = " ".join(f"a{alias}: events(first: 1) {{ totalCount }}" for alias in range(99))
    document = f"query ($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Board {{ {fields} }} }} }}"
    await repeated(target, lambda _: (document, {"ids": target.boards}), number)


async def introspection(target: Target, number: int, _: int) -> None:
    await repeated(target, lambda _: (INTROSPECTION, {}), number, is_anonymous=True)


async def copies(target: Target, number: int, _: int) -> None:
    copy = "mutation ($id: ID!, $name: String!) { duplicateBoard(input: { id: $id, name: $name }) { board { id } } }"
    name = f"Copy {number} {round_of(number)} {time.time_ns()}"
    await repeated(target, lambda _: (copy, {"id": target.boards[0], "name": name}), number)


async def creations(target: Target, number: int, size: int) -> None:
    text = f"{time.time_ns()} " + "what we know and what we want to find out " * (size // 42)
    board = target.boards[number % len(target.boards)]
    await repeated(target, lambda _: (MAKE_NODE, {"input": {"boardId": board, "content": text}}), number)


async def searches(target: Target, number: int, _: int) -> None:
    search = """query ($id: ID!, $query: String!) { board(id: $id) {
      search(input: { query: $query }, first: 100) { nodes { score } } } }"""
    query = f"what do we know about number {number} {round_of(number)} and what do we want to find out"
    await repeated(target, lambda _: (search, {"id": target.boards[0], "query": query}), number)


async def deep_documents(target: Target, number: int, _: int) -> None:
    deep = "[" * 1000 + "]" * 1000
    chain = "".join(f" fragment F{level} on Query {{ ...F{level + 1} }}" for level in range(1500))
    document = f"{{ node(id: {deep}) {{ id }} ...F0 }}{chain} fragment F1500 on Query {{ __typename }} # {round_of(number)}"
    await repeated(target, lambda _: (document, {}), number, is_anonymous=True)


async def many_operations(target: Target, number: int, _: int) -> None:
    document = " ".join(f"query Q{one} {{ viewer {{ id }} }}" for one in range(4000))
    connection = CONNECTIONS.setdefault(number, Connection(target.port, None))
    await connection.post(json.dumps({"query": document, "operationName": "Q1"}).encode())


async def guesses(target: Target, number: int, _: int) -> None:
    sign_in = """mutation ($email: String!) { signIn(input: { email: $email, password: "wrong password" }) {
      userErrors { message } } }"""
    email = f"nobody{number}x{round_of(number)}@ragboard.example"
    await repeated(target, lambda _: (sign_in, {"email": email}), number, is_anonymous=True)


async def half_heads(target: Target, number: int, _: int) -> None:
    connection = CONNECTIONS.setdefault(number, Connection(target.port, None))
    if connection.writer is None:
        connection.reader, connection.writer = await asyncio.open_connection("127.0.0.1", target.port)
        connection.writer.write(b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        await connection.writer.drain()
    if not await asyncio.wait_for(connection.reader.read(1000), 1.0):
        connection.close()


class ManyOperations(Follower):
    """A socket with operations that end; `heard` is told of each end."""

    def send(self, message: dict[str, object]) -> None:
        self._send(TEXT, json.dumps(message).encode())

    def _read(self, message: bytes, now_ns: int) -> None:
        if b'"type":"complete"' in message:
            self.heard(message, now_ns)
        elif b'"type":"ping"' in message:
            self._send(TEXT, b'{"type":"pong"}')
        elif b'"type":"connection_ack"' in message:
            self.acknowledged.set_result(None)


async def sockets(target: Target, number: int, _: int) -> None:
    """A hundred operations at once on one socket, until all are answered."""
    ended = asyncio.Semaphore(0)
    socket = await ManyOperations.connect(target.port, target.token, lambda *_: ended.release(), lambda _: None)
    query = "query ($id: ID!) { board(id: $id) { version events(first: 100) { totalCount nodes { __typename } } } }"
    for operation in range(100):
        payload = {"query": query, "variables": {"id": target.boards[operation % len(target.boards)]}}
        socket.send({"id": str(operation), "type": "subscribe", "payload": payload})
    try:
        for _ in range(100):
            await asyncio.wait_for(ended.acquire(), ANSWER_WITHIN_S)
    finally:
        socket.close()


async def big_answers(target: Target, number: int, _: int) -> None:
    fields = " ".join(f"a{alias}: content" for alias in range(20))
    document = f"query ($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on ResourceNode {{ {fields} }} }} }}"
    await repeated(target, lambda _: (document, {"ids": target.texts * 2}), number)


async def batches(target: Target, number: int, _: int) -> None:
    fields = " ".join(f"a{alias}: events(first: 100) {{ totalCount }}" for alias in range(20))
    document = f"query ($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Board {{ {fields} }} }} }}"
    connection = CONNECTIONS.setdefault(number, Connection(target.port, target.token))
    await connection.post(json.dumps([{"query": document, "variables": {"ids": target.boards}}] * 10).encode())


# Name, what is done, on so many connections, and a size in bytes where there is one.
ATTACKS: dict[str, tuple[Attack, int, int]] = {
    "events by alias": (events_by_alias, 16, 0),
    "introspection": (introspection, 64, 0),
    "copies of boards": (copies, 8, 0),
    "creations of 100 kB": (creations, 8, 100_000),
    "searches": (searches, 32, 0),
    "deep documents": (deep_documents, 16, 0),
    "many operations": (many_operations, 16, 0),
    "guesses at sign-in": (guesses, 32, 0),
    "half heads": (half_heads, 500, 0),
    "sockets with 100 operations": (sockets, 10, 0),
    "big answers by alias": (big_answers, 8, 0),
    "batches of 10": (batches, 8, 0),
    "uploads that embed": (creations, 4, 900_000),
}


def attack_process(name: str, target: Target, seconds: float, done: "multiprocessing.Queue[int]") -> None:
    asyncio.run(attack(name, target, seconds, done))


async def attack(name: str, target: Target, seconds: float, done: "multiprocessing.Queue[int]") -> None:
    do, connections, size = ATTACKS[name]
    end, answered = time.monotonic() + seconds, 0

    async def one(number: int) -> None:
        nonlocal answered
        while time.monotonic() < end:
            try:
                await do(target, number, size)
                answered += 1
            except Exception:  # noqa: BLE001  Being refused is part of it; not too often a second.
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(one(number)) for number in range(connections)]
    await asyncio.wait(tasks, timeout=seconds + 1)
    done.put(answered)
    for task in tasks:
        task.cancel()


async def every(seconds: float, pause: float, waits: Waits, ask: Callable[[], Awaitable[bool]]) -> None:
    """Asks again and again; `ask` says whether the answer is as it should be."""
    end = time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        try:
            is_good = await ask()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            is_good = False
        waits.ms.append((time.monotonic() - begin) * 1000)
        waits.errors += not is_good
        await asyncio.sleep(max(0.0, pause - (time.monotonic() - begin)))


@dataclass(frozen=True)
class Innocents:
    """Two accounts with a board each, and a node that is moved."""

    port: int
    reader_token: str
    writer_token: str
    board: str
    node: str


async def innocents(who: Innocents, seconds: float) -> tuple[Waits, Waits, Waits]:
    reader, writer, looker = Connection(who.port, who.reader_token), Connection(who.port, who.writer_token), Connection(who.port, None)
    moved = 0

    async def read() -> bool:
        status, body = await reader.ask(PAGE, {"id": who.board})
        return status == 200 and b'"errors"' not in body

    async def write() -> bool:
        nonlocal moved
        moved += 1
        status, body = await writer.ask(MOVE, {"input": {"id": who.node, "position": {"x": float(moved), "y": 0.0}}})
        return status == 200 and b'"userErrors":[]' in body

    async def look() -> bool:
        return (await looker.get("/livez"))[0] == 200

    waits = Waits(), Waits(), Waits()
    work = zip((READ_EVERY_S, WRITE_EVERY_S, LOOK_EVERY_S), waits, (read, write, look), strict=True)
    await asyncio.gather(*(every(seconds, *one) for one in work))
    for connection in (reader, writer, looker):
        connection.close()
    return waits


async def prepare(gateway: Gateway) -> tuple[Innocents, Target]:
    """Accounts, boards and nodes."""
    tokens = {name: gateway.run("token", "--create", f"{name}@ragboard.example").strip() for name in ("reader", "writer", "attacker")}

    async def made(token: str, query: str, variables: dict[str, object]) -> str:
        connection = Connection(gateway.port, token)
        status, body = await connection.ask(query, variables)
        connection.close()
        answer = json.loads(body)
        if status != 200 or "errors" in answer or not (done := next(iter(answer["data"].values()))) or done["userErrors"]:
            raise Failure(f"The gateway did not make what is needed: {body[:500]!r}")
        return next(value for name, value in done.items() if name != "userErrors")["id"]

    async def board(token: str, name: str, nodes: int, text: str = "What we know, and what we still want to find out.") -> tuple[str, list[str]]:
        own = await made(token, MAKE_BOARD, {"name": name})
        inputs = [{"boardId": own, "title": f"Note {number}", "content": f"{number} {text}"} for number in range(nodes)]
        return own, [await made(token, MAKE_NODE, {"input": one}) for one in inputs]

    read, _ = await board(tokens["reader"], "Read", NODES)
    _, moved = await board(tokens["writer"], "Written", NODES)
    attacked = [(await board(tokens["attacker"], f"Board {number}", NODES if number == 0 else 3))[0] for number in range(10)]
    _, texts = await board(tokens["attacker"], "Texts", 5, "so much text " * 70_000)
    return (Innocents(gateway.port, tokens["reader"], tokens["writer"], read, moved[0]),
            Target(gateway.port, tokens["attacker"], attacked, texts))


async def measure(name: str, who: Innocents, target: Target, seconds: float) -> Line:
    """One attack, or none."""
    say(name)
    done: multiprocessing.Queue[int] = multiprocessing.Queue()
    attacker = None
    if name in ATTACKS:
        attacker = multiprocessing.Process(target=attack_process, args=(name, target, seconds, done), daemon=True)
        attacker.start()
    reader, writer, looker = await innocents(who, seconds)
    answered = 0
    if attacker:
        try:
            answered = await asyncio.to_thread(done.get, True, 10)
        except Exception:  # noqa: BLE001  The attacker is stuck, which is no failure of the gateway.
            say(f"{name}: the attacker did not end")
        attacker.kill()
        attacker.join()
    return Line(name, reader.percentile(0.5), reader.percentile(0.99), writer.percentile(0.5), writer.percentile(0.99),
                reader.errors + writer.errors, answered / seconds, max(looker.ms, default=0.0))


def table(machine: dict[str, object], seconds: float, lines: list[Line]) -> str:
    text = [f"Innocents beside one attacker, {seconds:g} s each, on {surroundings(machine)}", "",
            "| attack | reader p50, ms | reader p99, ms | writer p50, ms | writer p99, ms | errors of both "
            "| attacker, answers/s | /livez, most, ms |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
    for line in lines:
        cells = [line.attack, *(cell(value, 1) for value in (line.reader_p50, line.reader_p99, line.writer_p50, line.writer_p99)),
                 str(line.errors), cell(line.attacker_per_s, 1), cell(line.livez_most, 1)]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, help="the program to measure; target/release/ragboard or RAGBOARD if not given")
    parser.add_argument("--seconds", type=positive, default=8, help="of each attack (8)")
    parser.add_argument("--rest", type=positive, default=2, help="seconds between two attacks (2)")
    parser.add_argument("--only", action="append", choices=["none", *ATTACKS], help="only this attack; may be given again")
    return parser.parse_args()


async def run(options: argparse.Namespace, program: Path) -> None:
    machine = describe_machine(program)
    shutil.rmtree(OWN_DIR, ignore_errors=True)
    OWN_DIR.mkdir(parents=True)
    lines: list[Line] = []
    with Gateway(program, OWN_DIR) as gateway:
        machine["postgres"] = gateway.psql("--command=SHOW server_version").strip()
        who, target = await prepare(gateway)
        for name in options.only or ["none", *ATTACKS]:
            try:
                lines.append(await measure(name, who, target, options.seconds))
            finally:
                if gateway.process.poll() is not None:
                    say(table(machine, options.seconds, lines))
                    raise Failure(f"The gateway ended during the attack: {name}")
            await asyncio.sleep(options.rest)
    print(table(machine, options.seconds, lines))
    results = {"machine": machine, "seconds": options.seconds, "lines": [asdict(line) for line in lines]}
    (OWN_DIR / "results.json").write_text(json.dumps(results, indent=2) + "\n")


def main() -> None:
    options = read_options()
    program = options.binary.resolve() if options.binary else find_program()
    if not program.is_file():
        raise Failure(f"There is no {program}")
    asyncio.run(run(options, program))


if __name__ == "__main__":
    run_main(main, OWN_DIR / "gateway.log")
