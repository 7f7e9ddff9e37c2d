#!/usr/bin/env python3
"""Measures search in a large board: how much an approximate index loses in scopes of all sizes, whether `complete: true` is ever
said of an answer that is not, and how long it takes beside the same SQL sent directly.

200,000 chunks, made up; every answer of the gateway is held against an exact computation in SQL. Questions are vectors or made-up
words, so no model is in the way. bench/README.md says what is measured exactly. Everything it makes lies in target/bench.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from uuid import UUID

# No folder of compiled files beside the sources.
sys.dont_write_bytecode = True

import ranking  # noqa: E402
import synthetic  # noqa: E402
from gateway import Failure, Gateway  # noqa: E402
from measuring import (  # noqa: E402
    ID_ALPHABET, WORK_DIR, cell, describe_machine, find_program, run_main, say, surroundings, type_id)
from retrieval import Client, percentile  # noqa: E402
from session import Session  # noqa: E402
from synthetic import CHUNKS, DIMENSIONS, Scope  # noqa: E402

OWN_DIR = WORK_DIR / "search"
BOARD = type_id("board", str(synthetic.BOARD))
SHOWN = 10
# What equals the last one may stand in its place, so more is computed than is shown.
COMPUTED = 2 * SHOWN
# Numbers go through texts of seven digits.
CLOSE = 1e-5
# Put on each number of a vector that is stored: nobody asks for exactly what is there.
NOISE = 0.02
RECALLS = ["FAST", "HIGH", "EXACT"]
SEARCH = """query ($input: SearchInput!, $first: Int!, $chunks: Boolean!) { search(input: $input, first: $first) {
  edges { node { score node { id } chunk @include(if: $chunks) { id } } }
  plan { strategy scopeRows candidates complete note } } }"""


@dataclass(frozen=True)
class Answer:
    """What the gateway said, and how long it took."""

    hits: list[tuple[UUID, float]]
    plan: dict[str, object]
    took_ms: float


@dataclass
class Line:
    """What is known of one kind and size of scope, or of one way to search."""

    scope: str
    percent: float
    searches: int = 0
    complete: int = 0
    wrong: int = 0
    recalls: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    direct_ms: list[float] = field(default_factory=list)
    strategies: Counter = field(default_factory=Counter)

    def add(self, answer: Answer, exact: list[tuple[UUID, float]]) -> bool:
        """Counts an answer. Whether it is one that says it is complete and is not."""
        self.searches += 1
        self.took_ms.append(answer.took_ms)
        self.strategies[answer.plan["strategy"]] += 1
        self.recalls.append(recall(answer.hits, exact))
        self.complete += bool(answer.plan["complete"])
        is_wrong = bool(answer.plan["complete"]) and not same(answer.hits, exact)
        self.wrong += is_wrong
        return is_wrong

    def summary(self) -> dict[str, object]:
        """For people and for the file of results."""
        times = {f"{name}_p{percent}": percentile(values, percent) if values else None
                 for name, values in (("gateway_ms", self.took_ms), ("sql_ms", self.direct_ms)) for percent in (50, 99)}
        return {"scope": self.scope, "percent": self.percent, "searches": self.searches, "strategies": dict(self.strategies),
                "recall": statistics.fmean(self.recalls), "least_recall": min(self.recalls),
                "complete": self.complete / self.searches, "wrong": self.wrong} | times


class Bench:
    """The gateway, PostgreSQL beside it, and questions."""

    def __init__(self, gateway: Gateway, session: Session, seed: int):
        self.client = Client(gateway)
        self.session = session
        self.chance = random.Random(seed)
        self.stored = {scope: self._vectors(scope) for scope in synthetic.scopes()}
        self.wrong: list[dict[str, object]] = []

    def _vectors(self, scope: Scope) -> list[list[float]]:
        rows, _ = self.session.run(
            f"SELECT e.embedding FROM embeddings e {ranking.of_scope(scope, 'e')} ORDER BY e.chunk_id LIMIT 40;")
        return [json.loads(row[0]) for row in rows]

    def vector(self, scope: Scope) -> list[float]:
        """One that was never asked for: near one of the scope, or of the board. The second half is harder, there may be nothing."""
        near = scope if self.chance.random() < 0.5 else Scope("all", synthetic.NODES, None)
        return [value + self.chance.gauss(0, NOISE) for value in self.chance.choice(self.stored[near])]

    def words(self) -> str:
        """Two to six words of a text that could be there."""
        return " ".join(self.chance.sample(next(synthetic.texts(self.chance)).split(), self.chance.randint(2, 6)))

    def ask(self, scope: Scope, grouping: str = "NODE", **wanted: object) -> Answer:
        given = wanted | {"scope": {"boardId": BOARD}, "groupBy": grouping}
        if scope.tag:
            given["filter"] = {"tags": [scope.tag]}
        is_chunk = grouping == "CHUNK"
        began = time.perf_counter()
        found = self.client.ask(SEARCH, input=given, first=SHOWN, chunks=is_chunk)["search"]
        took_ms = (time.perf_counter() - began) * 1000
        hits = [(uuid_of((edge["node"]["chunk" if is_chunk else "node"])["id"]), edge["node"]["score"]) for edge in found["edges"]]
        return Answer(hits, found["plan"], took_ms)

    def count(self, line: Line, scope: Scope, answer: Answer, exact: list[tuple[UUID, float]],
              asked: dict[str, object]) -> None:
        """Adds an answer to a line, and keeps it if it is wrong."""
        if line.add(answer, exact):
            self.wrong.append({"scope": scope.tag, "asked": asked, "plan": answer.plan,
                               "hits": [(str(id), score) for id, score in answer.hits],
                               "exact": [(str(id), score) for id, score in exact]})


def main() -> None:
    options = read_options()
    program = find_program()
    OWN_DIR.mkdir(parents=True, exist_ok=True)
    os.environ["RAGBOARD_SEARCH_EMBEDDER"] = "none"
    machine = describe_machine(program)
    with Gateway(program, OWN_DIR) as gateway:
        machine["postgres"] = gateway.psql("--command=SHOW server_version").strip()
        synthetic.load(gateway)
        with Session(gateway) as session:
            ranking.prepare(session)
            bench = Bench(gateway, session, options.seed)
            parts = {"vectors": by_vector, "words": by_words, "random": at_random}
            results = {name: [line.summary() for line in parts[name](bench, options)] for name in options.only}
    results |= {"machine": machine, "options": vars(options), "wrong": bench.wrong}
    (WORK_DIR / "search.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"{synthetic.NODES * CHUNKS:,} chunks, {DIMENSIONS} dimensions, on {surroundings(machine)}")
    for name in options.only:
        print(f"\n{name}:\n\n{table(results[name])}")
    if bench.wrong:
        raise Failure(f"{len(bench.wrong)} answers said that they are complete, and are not; see {WORK_DIR / 'search.json'}")


def read_options() -> argparse.Namespace:
    names = ["vectors", "words", "random"]
    parser = argparse.ArgumentParser(description="Measures search in a large board; bench/README.md has more.")
    parser.add_argument("--only", action="append", choices=names, help="measure this; may be given several times (default: all)")
    parser.add_argument("--queries", type=int, default=100, help="for each kind and size of scope (default: 100)")
    parser.add_argument("--searches", type=int, default=10_000, help="random ones (default: 10,000)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000,
                        help="of the questions (default: another each time)")
    options = parser.parse_args()
    options.only = options.only or names
    return options


def by_vector(bench: Bench, options: argparse.Namespace) -> list[Line]:
    """Vectors in every kind and size of scope, as a frontend asks for them."""
    lines = []
    for name, scopes in kinds().items():
        line = Line(*name)
        say(f"vectors, {line.scope}, {line.percent} %")
        for number in range(options.queries):
            scope = scopes[number % len(scopes)]
            vector = bench.vector(scope)
            answer = bench.ask(scope, vector=vector, mode="SEMANTIC")
            line.direct_ms.append(ranking.direct(bench.session, scope, vector, answer.plan["strategy"] == "INDEX"))
            exact = ranking.nearest(bench.session, scope, vector, "node_id", COMPUTED)
            bench.count(line, scope, answer, exact, {"vector": vector})
        lines.append(line)
    return lines


def by_words(bench: Bench, options: argparse.Namespace) -> list[Line]:
    """Words in every kind and size of scope."""
    lines = []
    for name, scopes in kinds().items():
        line = Line(*name)
        say(f"words, {line.scope}, {line.percent} %")
        for number in range(options.queries):
            scope = scopes[number % len(scopes)]
            text = bench.words()
            answer = bench.ask(scope, query=text, mode="KEYWORD")
            exact = ranking.best(bench.session, scope, text, answer.plan["scopeRows"], COMPUTED)
            bench.count(line, scope, answer, exact, {"query": text})
        lines.append(line)
    return lines


def at_random(bench: Bench, options: argparse.Namespace) -> list[Line]:
    """Anything anywhere. What says that it is complete must be what an exact computation gives."""
    lines = {recall: Line(recall, 0) for recall in RECALLS}
    scopes = synthetic.scopes()
    # Small ones more often: large ones take longer, and there are few of them.
    weights = [1 if scope.nodes < 1000 else 0.3 for scope in scopes]
    for number in range(options.searches):
        if number % 500 == 0:
            say(f"{number:,} of {options.searches:,} random searches, {len(bench.wrong)} wrong")
        [scope] = bench.chance.choices(scopes, weights)
        grouping = bench.chance.choice(["NODE", "CHUNK"])
        recall = bench.chance.choice(RECALLS)
        vector = bench.vector(scope)
        answer = bench.ask(scope, grouping, vector=vector, mode="SEMANTIC", recall=recall)
        exact = ranking.nearest(bench.session, scope, vector, "node_id" if grouping == "NODE" else "chunk_id", COMPUTED)
        bench.count(lines[recall], scope, answer, exact, {"vector": vector, "recall": recall, "groupBy": grouping})
    return [line for line in lines.values() if line.searches]


def kinds() -> dict[tuple[str, float], list[Scope]]:
    """The scopes by kind and size."""
    found: dict[tuple[str, float], list[Scope]] = {}
    for scope in synthetic.scopes():
        found.setdefault((scope.kind, scope.percent), []).append(scope)
    return found


def same(hits: list[tuple[UUID, float]], exact: list[tuple[UUID, float]]) -> bool:
    """Whether the hits are the best ones with their scores, in their order; of equals, any."""
    scores = dict(exact)
    close = (abs(score - scores.get(id, score + 1)) < CLOSE * max(1, abs(score)) for id, score in hits)
    wanted = [score for _, score in exact[:SHOWN]]
    return (len(hits) == len(wanted) and len(dict(hits)) == len(hits) and all(close)
            and all(abs(score - other) < CLOSE * max(1, abs(score)) for (_, score), other in zip(hits, wanted, strict=True)))


def recall(hits: list[tuple[UUID, float]], exact: list[tuple[UUID, float]]) -> float:
    """Which part of the best ones is among the hits."""
    wanted = {id for id, _ in exact[:SHOWN]}
    return len(wanted.intersection(id for id, _ in hits)) / len(wanted) if wanted else 1.0


def uuid_of(id: str) -> UUID:
    """The row of an id of the API."""
    bits = 0
    for letter in id.partition("_")[2]:
        bits = bits << 5 | ID_ALPHABET.index(letter)
    return UUID(int=bits)


def table(lines: list[dict[str, object]]) -> str:
    """Results in Markdown."""
    rows = ["| scope | % of the board | searches | strategy | recall@10 | least | complete | wrong | p50, ms | p99, ms "
            "| SQL p50, ms | SQL p99, ms |",
            "|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for one in lines:
        strategies = ", ".join(one["strategies"])
        numbers = [cell(one["recall"], 3), cell(one["least_recall"], 1), f"{one['complete']:.0%}", str(one["wrong"]),
                   *(cell(one[key], 1) for key in ("gateway_ms_p50", "gateway_ms_p99", "sql_ms_p50", "sql_ms_p99"))]
        rows.append(f"| {one['scope']} | {one['percent']:g} | {one['searches']:,} | {strategies} | {' | '.join(numbers)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    run_main(main, OWN_DIR / "gateway.log")
