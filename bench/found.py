#!/usr/bin/env python3
"""Measures how soon what was written is found, by words and by meaning: at rest, while a large import is being indexed, and with a
server of embeddings that is overloaded or hangs; and how long a folder of documents takes to be searchable.

bench/README.md says what is measured exactly, and what it needs. Everything it makes lies in target/bench.
"""

import argparse
import json
import os
import random
import re
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

# No folder of compiled files beside the sources.
sys.dont_write_bytecode = True

from embedding_server import EmbeddingServer  # noqa: E402
from gateway import Failure, Gateway, output_of  # noqa: E402
from measuring import OWNER, ROOT, WORK_DIR, cell, describe_machine, find_program, run_main, say, surroundings  # noqa: E402
from retrieval import CREATE_BOARD, ADD, Client, node_id, percentile  # noqa: E402

OWN_DIR = WORK_DIR / "found"
# Of one resource, written or imported.
WORDS = 100
LOOK_EVERY_S = 0.002
FOUND_WITHIN_S = 120
# How long nobody writes, and the jobs put off go on being put off.
OUTAGE_S = 20
# A question that waits for a server that hangs takes long.
HYBRID_EVERY = 20

CREATE = """mutation ($input: CreateResourceNodeInput!) {
  createResourceNode(input: $input) { node { id } userErrors { message } } }"""
SEARCH = """query ($board: ID!, $query: String!, $mode: SearchMode!) { board(id: $board) {
  search(input: { query: $query, mode: $mode }) { edges { node { node { id } } } plan { complete note } } } }"""
OPEN_JOBS = "SELECT count(*) FROM processing_jobs WHERE status IN ('pending', 'running')"
CODE = re.compile(r"'code': '([A-Z_]+)'")
FAILED_JOBS = "SELECT count(*) FROM processing_jobs WHERE status = 'failed'"


@dataclass
class Line:
    """What was seen of the writes of one part, in milliseconds: answered, and found from when the mutation was sent."""

    name: str
    answered: list[float] = field(default_factory=list)
    by_words: list[float] = field(default_factory=list)
    by_meaning: list[float] = field(default_factory=list)
    hybrid: list[float] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)

    def summary(self) -> dict[str, object]:
        """For people and for the file of results."""
        columns = {"answered": self.answered, "by_words": self.by_words, "by_meaning": self.by_meaning, "hybrid": self.hybrid}
        times = {f"{name}_ms_p{percent}": percentile(values, percent) if values else None
                 for name, values in columns.items() for percent in (50, 99)}
        return {"part": self.name, "writes": len(self.answered), "notes": sorted(self.notes)} | times


class Refused(Failure):
    """A search that was answered with an error."""

    def __init__(self, code: str):
        super().__init__(f"A search was answered with {code}")
        self.code = code


class Writer:
    """Writes resources to a board of its own and looks for them."""

    def __init__(self, gateway: Gateway, name: str):
        self.gateway = gateway
        self.client = Client(gateway)
        self.board = self.client.ask(CREATE_BOARD, name=name)["createBoard"]["board"]["id"]
        self.chance = random.Random(time.time_ns())
        self.vocabulary = words_of_documents()

    def text(self) -> str:
        """Words of documents around one that is nowhere else."""
        begin = self.chance.randrange(len(self.vocabulary) - WORDS)
        return f"Note {self.chance.getrandbits(60):x}. " + " ".join(self.vocabulary[begin:begin + WORDS])

    def write(self, text: str) -> tuple[str, float, float]:
        """A new resource: its id, when it was sent, and the milliseconds until the answer."""
        began = time.perf_counter()
        made = self.client.ask(CREATE, input={"boardId": self.board, "content": text, "position": {"x": 0, "y": 0}})
        return made["createResourceNode"]["node"]["id"], began, (time.perf_counter() - began) * 1000

    def search(self, query: str, mode: str) -> tuple[set[str], dict[str, object]]:
        try:
            found = self.client.ask(SEARCH, board=self.board, query=query, mode=mode)["board"]["search"]
        except Failure as failure:
            code = CODE.search(str(failure))
            raise (Refused(code[1]) if code else failure) from None
        return {edge["node"]["node"]["id"] for edge in found["edges"]}, found["plan"]

    def until_found(self, id: str, query: str, mode: str, began: float) -> float:
        """Milliseconds until a search finds it."""
        while id not in self.search(query, mode)[0]:
            if time.perf_counter() - began > FOUND_WITHIN_S:
                raise Failure(f"{id} was not found by {mode} within {FOUND_WITHIN_S} s")
            time.sleep(LOOK_EVERY_S)
        return (time.perf_counter() - began) * 1000

    def measure(self, line: Line, by_meaning: bool = True) -> str:
        """Writes one, looks for it, and gives its text."""
        # All of it: a part of a text may mean something else.
        query = self.text()
        if by_meaning:
            # The vector of the question is in memory then; what is waited for is that of the text.
            self.search(query, "SEMANTIC")
        id, began, answered = self.write(query)
        line.answered.append(answered)
        line.by_words.append(self.until_found(id, query.split()[1].rstrip("."), "KEYWORD", began))
        if by_meaning:
            line.by_meaning.append(self.until_found(id, query, "SEMANTIC", began))
        return query

    def wait(self, within_s: float) -> float:
        """Seconds until no job is left."""
        began = time.monotonic()
        while open_jobs(self.gateway):
            if time.monotonic() - began > within_s:
                raise Failure(f"There are still jobs after {within_s:.0f} s")
            time.sleep(0.2)
        return time.monotonic() - began


def main() -> None:
    options = read_options()
    program = find_program()
    shutil.rmtree(OWN_DIR, ignore_errors=True)
    OWN_DIR.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(program)
    results: dict[str, object] = {"machine": machine, "options": {name: str(value) for name, value in vars(options).items()}}
    lines: list[Line] = []
    if {"rest", "import", "folder"}.intersection(options.only):
        with Gateway(program, OWN_DIR) as gateway:
            machine["postgres"] = gateway.psql("--command=SHOW server_version").strip()
            if "rest" in options.only:
                lines.append(at_rest(gateway, options))
            if "import" in options.only:
                lines.append(beside_import(gateway, options, results))
            if "folder" in options.only and options.folder:
                results["folder"] = folder(gateway, options)
    if "overload" in options.only:
        lines += overloaded(program, options, machine, results)
    results["parts"] = [line.summary() for line in lines]
    (WORK_DIR / "found.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"On {surroundings(machine)}\n\n{table(results['parts'])}")
    for name in ("beside", "outage", "folder"):
        if name in results:
            print(f"\n{name}: {json.dumps(results[name])}")


def read_options() -> argparse.Namespace:
    names = ["rest", "import", "overload", "folder"]
    parser = argparse.ArgumentParser(description="Measures how soon what was written is found; bench/README.md has more.")
    parser.add_argument("--only", action="append", choices=names, help="measure this; may be given several times (default: all)")
    parser.add_argument("--writes", type=int, default=100, help="of each part (default: 100)")
    parser.add_argument("--imported", type=int, default=1_000, help="resources that wait meanwhile in one part (default: 1,000)")
    parser.add_argument("--folder", type=Path, help="documents to import; without it, that part is left out")
    parser.add_argument("--within", type=float, default=3600, help="seconds until an import must be searchable (default: 3600)")
    options = parser.parse_args()
    options.only = options.only or names
    return options


def words_of_documents() -> list[str]:
    """Words in the order of the documents of this repository."""
    return [word for path in sorted((ROOT / "docs").glob("*.md")) for word in path.read_text().split()
            if word.isalpha()]


def at_rest(gateway: Gateway, options: argparse.Namespace) -> Line:
    """One write after the other, and nothing else."""
    say("writes at rest")
    writer, line = Writer(gateway, "At rest"), Line("at rest")
    writer.measure(Line("the model is loaded"))
    for _ in range(options.writes):
        writer.measure(line)
    return line


def beside_import(gateway: Gateway, options: argparse.Namespace, results: dict[str, object]) -> Line:
    """The same while many resources of another board wait for their vectors."""
    say("writes beside an import")
    other, writer, line = Writer(gateway, "Imported"), Writer(gateway, "Beside"), Line("beside an import")
    changes = [{"createResource": {"id": node_id(number), "content": other.text(), "position": {"x": number, "y": 0}}}
               for number in range(options.imported)]
    began = time.monotonic()
    other.client.ask(ADD, board=other.board, changes=changes)
    while len(line.answered) < options.writes and open_jobs(gateway):
        writer.measure(line)
    left = open_jobs(gateway)
    other.wait(options.within)
    results["beside"] = {"imported": options.imported, "jobs_left_when_the_writes_were_done": left,
                         "seconds": round(time.monotonic() - began, 1)}
    return line


def open_jobs(gateway: Gateway) -> int:
    """Jobs that are not done, of all boards."""
    return int(gateway.psql(f"--command={OPEN_JOBS}"))


def overloaded(program: Path, options: argparse.Namespace, machine: dict[str, object], results: dict[str, object]) -> list[Line]:
    """Writes and searches with a server that works, is busy, and hangs; then it works again."""
    lines = []
    with EmbeddingServer() as server:
        os.environ |= server.environment()
        own_dir = OWN_DIR / "overload"
        own_dir.mkdir()
        with Gateway(program, own_dir) as gateway:
            machine["postgres"] = gateway.psql("--command=SHOW server_version").strip()
            writer = Writer(gateway, "Overload")
            writer.measure(Line("a first one"))
            queries: list[str] = []
            for mood, name in (("works", "server works"), ("busy", "server says 429"), ("hangs", "server hangs")):
                say(f"writes, {name}")
                server.mood = mood
                line = Line(name)
                for number in range(options.writes):
                    queries.append(writer.measure(line, by_meaning=mood == "works"))
                    if number % HYBRID_EVERY == 0:
                        ask_hybrid(writer, queries[-1] + " once more", line)
                lines.append(line)
            time.sleep(OUTAGE_S)
            server.mood = "works"
            say("the server works again")
            took_s = writer.wait(600)
            lost = sum(len(writer.search(query, "SEMANTIC")[0]) == 0 for query in queries)
            without = int(gateway.psql("--command=SELECT count(*) FROM chunks c WHERE NOT EXISTS "
                                       "(SELECT FROM embeddings e WHERE e.chunk_id = c.id)"))
            results["outage"] = {
                "writes": len(queries), "all_searchable_s_after": round(took_s, 1), "chunks_without_vector": without,
                "searches_without_hit": lost, "jobs_failed": int(gateway.psql(f"--command={FAILED_JOBS}"))}
    return lines


def ask_hybrid(writer: Writer, query: str, line: Line) -> None:
    """A question whose vector is not in memory."""
    began = time.perf_counter()
    try:
        found, plan = writer.search(query, "HYBRID")
        if not found:
            raise Failure(f"HYBRID found nothing: {plan}")
        line.notes.add(str(plan["note"]))
    except Refused as refused:
        line.notes.add(f"error {refused.code}")
    line.hybrid.append((time.perf_counter() - began) * 1000)


def folder(gateway: Gateway, options: argparse.Namespace) -> dict[str, object]:
    """`ragboard import` of a folder, until its words and then its vectors are there."""
    say(f"importing {options.folder}")
    gateway.run("token", "--create", OWNER)

    def count(what: str) -> int:
        return int(gateway.psql(f"--command=SELECT count(*) FROM {what}"))

    chunks, vectors = count("chunks"), count("embeddings")
    began = time.monotonic()
    told = output_of([str(gateway.program), "import", str(options.folder.resolve()), "--board", "Folder", "--owner", OWNER],
                     options.within, env=gateway.environment, cwd=gateway.work_dir)
    imported = time.monotonic() - began
    while count("processing_jobs WHERE status IN ('pending', 'running') AND job_type = 'extract_text'"):
        time.sleep(0.2)
    words = time.monotonic() - began
    chunks, vectors_then = count("chunks") - chunks, count("embeddings") - vectors
    while count("processing_jobs WHERE status IN ('pending', 'running')") and time.monotonic() - began < options.within:
        time.sleep(1)
    meaning, vectors = time.monotonic() - began, count("embeddings") - vectors
    return {"said": told.strip().splitlines()[-1:], "chunks": chunks, "imported_s": round(imported, 1), "words_s": round(words, 1),
            "vectors_when_words_were_there": vectors_then, "vectors": vectors, "vectors_s": round(meaning, 1),
            "words_s_per_1000": round(words * 1000 / chunks, 2) if chunks else None,
            "vectors_s_per_1000": round(meaning * 1000 / vectors, 1) if vectors else None}


def table(parts: list[dict[str, object]]) -> str:
    """Results in Markdown."""
    rows = ["| part | writes | answered p50, ms | p99 | found by words p50, ms | p99 | by meaning p50, ms | p99 "
            "| HYBRID p50, ms | p99 | note |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|"]
    for one in parts:
        times = (cell(one[f"{name}_ms_p{percent}"], 1)
                 for name in ("answered", "by_words", "by_meaning", "hybrid") for percent in (50, 99))
        rows.append(f"| {one['part']} | {one['writes']} | {' | '.join(times)} | {'; '.join(one['notes'])} |")
    return "\n".join(rows)


if __name__ == "__main__":
    run_main(main, OWN_DIR / "gateway.log")
