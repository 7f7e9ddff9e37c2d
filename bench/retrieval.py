#!/usr/bin/env python3
"""Measures how well search finds what people judged to be the answer, and how fast, in every mode.

It loads a collection (documents, queries, and which document answers which query; corpora.py makes such folders) as a board,
waits until everything is searchable, sends all queries, and compares what comes with the judgements. It measures search as a
client sees it: through the API, with the model, chunks and indexes that the gateway uses by itself.

bench/README.md says what is measured exactly, and what it needs. Everything it makes lies in target/bench.
"""

import argparse
import http.client
import json
import math
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

# No folder of compiled files beside the sources.
sys.dont_write_bytecode = True

from gateway import ANSWER_WITHIN_S, Failure, Gateway  # noqa: E402
from measuring import (  # noqa: E402
    OWNER, WORK_DIR, cell, describe_machine, find_program, run_main, say, surroundings, type_id)

OWN_DIR = WORK_DIR / "retrieval"
# The first one pays for the vectors of the queries, which are then in memory.
MODES = ["HYBRID", "SEMANTIC", "KEYWORD"]
# A request may have 1 MiB and 1,000 changes.
BATCH_BYTES = 600_000
BATCH_DOCUMENTS = 200
MAX_TITLE = 500
# What a frontend shows, and what is looked through for the judged documents.
SHOWN = 10
JUDGED = 100
LOOK_EVERY_S = 1

CREATE_BOARD = """mutation ($name: String!) { createBoard(input: { name: $name }) { board { id } userErrors { message } } }"""
ADD = """mutation ($board: ID!, $changes: [BoardChangeInput!]!) {
  applyBoardChanges(input: { boardId: $board, changes: $changes }) { userErrors { message path } } }"""
WAITING = """query ($board: ID!) { board(id: $board) { jobs(statuses: [PENDING, RUNNING], first: 1) { nodes { id } } } }"""
SEARCH = """query ($board: ID!, $query: String!, $mode: SearchMode!, $first: Int!) {
  board(id: $board) { search(input: { query: $query, mode: $mode }, first: $first) { edges { node { score node { id } } } } } }"""

# Grades by document; what is not in it is not relevant.
Grades = dict[str, int]


@dataclass(frozen=True)
class Collection:
    """What is searched, what is asked, and the grades by query."""

    name: str
    docs: list[dict[str, str]]
    queries: dict[str, str]
    grades: dict[str, Grades]


@dataclass(frozen=True)
class Found:
    """One line of the table: means over the queries, and the time of a request for the first ten hits."""

    mode: str
    queries: int
    ndcg_10: float
    recall_10: float
    recall_100: float
    mrr: float
    p50_ms: float
    p99_ms: float


def main() -> None:
    options = read_options()
    if options.check:
        check_measures()
        return
    collection = read_collection(options.collection)
    program = find_program()
    if not options.keep:
        shutil.rmtree(OWN_DIR, ignore_errors=True)
    OWN_DIR.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(program)
    with Gateway(program, OWN_DIR) as gateway:
        machine["postgres"] = gateway.psql("--command=SHOW server_version").strip()
        client = Client(gateway)
        board, names, loading = load(client, collection, options.within)
        found = [search(client, collection, board, names, mode) for mode in options.mode or MODES]
    results = {"machine": machine, "collection": collection.name, "documents": len(collection.docs), "loading": loading,
               "found": [asdict(one) for one in found]}
    (WORK_DIR / "retrieval.json").write_text(json.dumps(results, indent=2) + "\n")
    print(table(collection, machine, loading, found))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures how well search finds; bench/README.md has more.")
    parser.add_argument("collection", type=Path, nargs="?", help="folder with docs.jsonl, queries.jsonl and qrels.tsv or .jsonl")
    parser.add_argument("--mode", action="append", choices=MODES, help="may be given several times (default: all)")
    parser.add_argument("--within", type=int, default=7200, help="seconds until all must be searchable (default: 7200)")
    parser.add_argument("--keep", action="store_true", help="begin with the data of the run before; boards are added to it")
    parser.add_argument("--check", action="store_true", help="check the measures against worked examples, and nothing else")
    options = parser.parse_args()
    if not options.check and not options.collection:
        parser.error("name the folder of a collection; bench/README.md says how to get one")
    return options


def read_collection(folder: Path) -> Collection:
    """Reads a folder. Queries without a relevant document are left out: nothing can be said of them."""
    try:
        docs = rows(folder / "docs.jsonl")
        queries = {str(row["id"]): row["text"] for row in rows(folder / "queries.jsonl")}
        grades: dict[str, Grades] = {}
        if (qrels := folder / "qrels.tsv").is_file():
            judged: Iterable[list[str]] = (line.split("\t") for line in qrels.read_text().splitlines() if line)
        else:
            judged = ([row["query"], row["doc"], row["grade"]] for row in rows(folder / "qrels.jsonl"))
        for query, doc, grade in judged:
            grades.setdefault(str(query), {})[str(doc)] = int(grade)
    except (OSError, KeyError, ValueError) as problem:
        raise Failure(f"{folder} is no collection: {problem!r}") from None
    asked = {id: text for id, text in queries.items() if any(grade > 0 for grade in grades.get(id, {}).values())}
    if not docs or not asked:
        raise Failure(f"{folder} has no documents, or no query with a relevant one")
    return Collection(folder.resolve().name, docs, asked, grades)


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


class Client:
    """Asks the API as the owner of the board. Access tokens live for a quarter of an hour, so there is a new one in between."""

    def __init__(self, gateway: Gateway):
        self.gateway = gateway
        self.connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=ANSWER_WITHIN_S)
        self.renew_at = 0.0

    def ask(self, document: str, **variables: object) -> dict[str, object]:
        """The data of an answer. Errors, and mutations that were not done, end the benchmark."""
        if time.monotonic() > self.renew_at:
            self.token = self.gateway.run("token", "--create", OWNER).strip()
            self.renew_at = time.monotonic() + 300
        body = json.dumps({"query": document, "variables": variables})
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        self.connection.request("POST", "/graphql", body, headers)
        response = self.connection.getresponse()
        read = response.read()
        if response.status != 200:
            raise Failure(f"The gateway answered with status {response.status}: {read[:500]!r}")
        answer = json.loads(read)
        if answer.get("errors"):
            raise Failure(f"The answer has errors: {answer['errors'][:3]}")
        for payload in answer["data"].values():
            if isinstance(payload, dict) and payload.get("userErrors"):
                raise Failure(f"Not done: {payload['userErrors'][:3]}")
        return answer["data"]


def load(client: Client, collection: Collection, within_s: float) -> tuple[str, dict[str, str], dict[str, float]]:
    """Makes the board, one node for each document, and waits until nothing is left to do for them. The board, the documents
    by the ids of their nodes, and the seconds."""
    board = client.ask(CREATE_BOARD, name=f"{collection.name} {time.time_ns()}")["createBoard"]["board"]["id"]
    say(f"loading {len(collection.docs):,} documents")
    began = time.monotonic()
    names: dict[str, str] = {}
    changes: list[dict[str, object]] = []
    size = 0
    for number, doc in enumerate(collection.docs):
        id = node_id(number)
        names[id] = str(doc["id"])
        resource = {"id": id, "content": doc["text"], "position": {"x": number % 100 * 300, "y": number // 100 * 200}}
        if title := doc.get("title", "")[:MAX_TITLE]:
            resource["title"] = title
        length = len(json.dumps(resource))
        if changes and (size + length > BATCH_BYTES or len(changes) == BATCH_DOCUMENTS):
            client.ask(ADD, board=board, changes=changes)
            changes, size = [], 0
        changes.append({"createResource": resource})
        size += length
    client.ask(ADD, board=board, changes=changes)
    written = time.monotonic()
    say("waiting until all is searchable")
    while client.ask(WAITING, board=board)["board"]["jobs"]["nodes"]:
        if time.monotonic() - written > within_s:
            raise Failure(f"Not all was searchable after {within_s} s")
        time.sleep(LOOK_EVERY_S)
    return board, names, {"written_s": written - began, "searchable_s": time.monotonic() - began}


def node_id(number: int) -> str:
    """An id as clients choose them: UUID version 7, in the order of the documents."""
    bits = time.time_ns() // 1_000_000 << 80 | 7 << 76 | (number & 0xFFF) << 64 | 0b10 << 62 | random.getrandbits(62)
    return type_id("node", f"{bits:032x}")


def search(client: Client, collection: Collection, board: str, names: dict[str, str], mode: str) -> Found:
    """All queries in one mode: first as a frontend asks, which is timed, then for what the judgements need."""
    say(f"{len(collection.queries):,} queries, {mode}")
    took_ms = []
    for text in collection.queries.values():
        began = time.perf_counter()
        client.ask(SEARCH, board=board, query=text, mode=mode, first=SHOWN)
        took_ms.append((time.perf_counter() - began) * 1000)
    measures = []
    for id, text in collection.queries.items():
        data = client.ask(SEARCH, board=board, query=text, mode=mode, first=JUDGED)
        ranked = [names[edge["node"]["node"]["id"]] for edge in data["board"]["search"]["edges"]]
        if len(set(ranked)) != len(ranked):
            raise Failure(f"A document was found twice for {text!r}")
        measures.append(measure(ranked, collection.grades[id]))
    ndcg, recall_10, recall_100, reciprocal = (statistics.fmean(column) for column in zip(*measures, strict=True))
    return Found(mode, len(measures), ndcg, recall_10, recall_100, reciprocal, percentile(took_ms, 50), percentile(took_ms, 99))


def measure(ranked: list[str], grades: Grades) -> tuple[float, float, float, float]:
    """nDCG@10, recall@10, recall@100 and the reciprocal rank, of the documents found for a query, the best first."""
    return ndcg(ranked, grades, 10), recall(ranked, grades, 10), recall(ranked, grades, 100), reciprocal_rank(ranked, grades)


def ndcg(ranked: list[str], grades: Grades, depth: int) -> float:
    """As ndcg_cut of trec_eval: a document gains its grade, divided by log2(1 + rank); 1 is the best order there is."""
    def gained(values: Iterable[int]) -> float:
        return sum(value / math.log2(rank + 1) for rank, value in enumerate(values, start=1))
    best = gained(sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:depth])
    return gained(max(grades.get(doc, 0), 0) for doc in ranked[:depth]) / best if best else 0.0


def recall(ranked: list[str], grades: Grades, depth: int) -> float:
    """Which part of the relevant documents is among the first ones."""
    relevant = {doc for doc, grade in grades.items() if grade > 0}
    return len(relevant.intersection(ranked[:depth])) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranked: list[str], grades: Grades) -> float:
    """1 / rank of the first relevant document, 0 if none was found."""
    return next((1 / rank for rank, doc in enumerate(ranked, start=1) if grades.get(doc, 0) > 0), 0.0)


def percentile(values: list[float], percent: int) -> float:
    """The smallest value that so many percent of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def table(collection: Collection, machine: dict[str, object], loading: dict[str, float], found: list[Found]) -> str:
    """The results in Markdown."""
    documents = len(collection.docs)
    lines = [
        f"{collection.name}: {documents:,} documents, searchable after {loading['searchable_s']:.0f} s "
        f"({loading['written_s']:.0f} s to write), on {surroundings(machine)}",
        "",
        "| mode | queries | nDCG@10 | recall@10 | recall@100 | MRR | p50, ms | p99, ms |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        quality = [cell(value, 3) for value in (one.ndcg_10, one.recall_10, one.recall_100, one.mrr)]
        times = [cell(value, 1) for value in (one.p50_ms, one.p99_ms)]
        lines.append(f"| {' | '.join([one.mode, str(one.queries), *quality, *times])} |")
    return "\n".join(lines)


def check_measures() -> None:
    """Holds the measures against examples that were worked out by hand."""
    grades = {"a": 3, "b": 2, "c": 1, "d": 0, "e": -1}
    # 2/log2(2) + 0 + 3/log2(4) + 0 + 1/log2(6) = 3.88685, of 3/log2(2) + 2/log2(3) + 1/log2(4) = 4.76186.
    mixed = ["b", "x", "a", "e", "c"]
    # Eleven that nobody judged, then the relevant ones.
    late = [f"x{number}" for number in range(11)] + ["c", "a", "b"]
    expected: list[tuple[Callable[[], float], float]] = [
        (lambda: ndcg(mixed, grades, 10), 0.816246),
        (lambda: ndcg(["a", "b", "c"], grades, 10), 1.0),
        (lambda: ndcg(["a", "b", "c"], grades, 2), 1.0),
        (lambda: ndcg(["d", "e"], grades, 10), 0.0),
        (lambda: ndcg([], grades, 10), 0.0),
        (lambda: ndcg(["a"], {}, 10), 0.0),
        (lambda: ndcg(late, grades, 10), 0.0),
        (lambda: recall(mixed, grades, 10), 1.0),
        (lambda: recall(mixed, grades, 2), 1 / 3),
        (lambda: recall(late, grades, 10), 0.0),
        (lambda: recall(late, grades, 100), 1.0),
        (lambda: reciprocal_rank(mixed, grades), 1.0),
        (lambda: reciprocal_rank(["d", "x", "c"], grades), 1 / 3),
        (lambda: reciprocal_rank(late, grades), 1 / 12),
        (lambda: reciprocal_rank(["x"], grades), 0.0),
        (lambda: percentile([4.0, 1.0, 3.0, 2.0], 50), 2.0),
        (lambda: percentile([4.0, 1.0, 3.0, 2.0], 99), 4.0),
    ]
    for number, (measured, wanted) in enumerate(expected, start=1):
        if not math.isclose(value := measured(), wanted, abs_tol=1e-6):
            raise Failure(f"example {number}: {value} instead of {wanted}")
    print(f"{len(expected)} examples are right")


if __name__ == "__main__":
    run_main(main, OWN_DIR / "gateway.log")
