#!/usr/bin/env python3
"""Changes the model under load: are there errors, or answers that mix the vectors of two models, and what does it cost?

It makes a board of texts, has them embedded, and then makes the vectors of a second model (the same one with another pooling, so
all vectors differ) while clients search and write without a pause. The command that makes them is killed twice and begun
again, then the model is switched and switched back. Every search tells its generation and its scores; the scores of a text that
stays must be one of two numbers, which belong to the two generations.

With `--server`, a server of embeddings stands for the models. It costs so little that many chunks can be tried, and the vectors of
its second model have 3,072 numbers, which are indexed as halves.

bench/README.md says what it needs. Everything it makes lies in target/bench.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

# No folder of compiled files beside the sources.
sys.dont_write_bytecode = True

from embedding_server import EmbeddingServer  # noqa: E402
from gateway import Failure, Gateway, output_of  # noqa: E402
from measuring import WORK_DIR, describe_machine, find_program, run_main, say, surroundings  # noqa: E402
from retrieval import Client, Collection, load, percentile  # noqa: E402

OWN_DIR = WORK_DIR / "reindex"
FILES = ["config.json", "tokenizer.json", "model.safetensors", "modules.json", "sentence_bert_config.json"]
SUBJECTS = "the harbour|a locomotive|the orchestra|a glacier|the parliament|an orchid|the compiler|a lighthouse|the beekeeper".split("|")
VERBS = "describes|follows|measures|repairs|forgets|admires|feeds|paints|moves|counts".split("|")
OBJECTS = "old bridges|cold water|its own records|three brass keys|the winter market|slow queries|a red kite|the northern road".split("|")
QUESTION = "who keeps the light burning for ships at night"
ANSWER = "The keeper of the lighthouse trims the lamp every evening, so that ships find the harbour in the dark."
# More than an index of whole numbers takes.
OTHER_DIMENSIONS = 3072
SEARCH = """query ($board: ID!, $query: String!) { board(id: $board) { search(input: { query: $query, mode: SEMANTIC }, first: 5) {
  edges { node { vectorScore node { title } } } plan { generation note } } } }"""
WRITE = """mutation ($board: ID!, $title: String!, $content: String!) { createResourceNode(input: { boardId: $board, title: $title,
  content: $content, position: { x: 0, y: -500 } }) { node { id } userErrors { message } } }"""
ACTIVE = "SELECT id::text FROM embedding_generations WHERE state = 'active'"
MISSING = """SELECT count(*) FROM chunks c JOIN nodes n ON n.id = c.node_id AND n.deleted_at IS NULL WHERE NOT EXISTS (SELECT FROM
  embeddings e WHERE e.chunk_id = c.id AND e.generation_id = (SELECT id FROM embedding_generations WHERE state = 'active'))"""


def main() -> None:
    options = read_options()
    program = find_program()
    shutil.rmtree(OWN_DIR, ignore_errors=True)
    OWN_DIR.mkdir(parents=True)
    machine = describe_machine(program)
    with contextlib.ExitStack() as stack:
        if options.server:
            os.environ |= stack.enter_context(EmbeddingServer()).environment() | {"RAGBOARD_SEARCH_ASK_DIMENSIONS": "true"}
        gateway = stack.enter_context(Gateway(program, OWN_DIR))
        machine["postgres"] = gateway.psql("--command=SHOW server_version").strip()
        client = Client(gateway)
        docs = [{"id": "lighthouse", "title": "Lighthouse", "text": ANSWER}]
        docs += [{"id": str(number), "title": f"Text {number}", "text": text()} for number in range(options.chunks - 1)]
        board, _, loading = load(client, Collection("reindex", docs, {}, {}), 7200)
        question = ANSWER if options.server else QUESTION
        clients = [Searching(gateway, board, question), Searching(gateway, board, question), Writing(gateway, board)]
        for one in clients:
            one.start()
        time.sleep(options.alone)
        result = {"chunks": options.chunks, "loading": loading, **change(gateway, program, options.server)}
        for one in clients:
            one.stop()
        result["missing"] = int(gateway.psql(f"--command={MISSING}").strip())
    searches = clients[:2]
    result |= {
        "searches": sum(len(one.took_ms) for one in searches),
        "writes": len(clients[2].took_ms),
        "errors": [error for one in clients for error in one.errors],
        "scores": {generation: sorted(scores) for generation, scores in merged(searches).items()},
        "worst": {one.kind: round(percentile(one.took_ms, 99), 1) for one in clients[1:]},
    }
    (WORK_DIR / "reindex.json").write_text(json.dumps({"machine": machine, **result}, indent=2) + "\n")
    print(f"on {surroundings(machine)}:\n{json.dumps(result, indent=2)}")
    if result["errors"] or any(len(scores) != 1 for scores in result["scores"].values()):
        raise Failure("There were errors, or answers of two models under one generation")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Changes the model under load; bench/README.md has more.")
    parser.add_argument("--chunks", type=int, default=2000, help="texts, each of one chunk (default: 2000)")
    parser.add_argument("--server", action="store_true", help="ask a server of embeddings in place of models")
    parser.add_argument("--alone", type=float, default=5, help="seconds of load before the change begins (default: 5)")
    return parser.parse_args()


def text() -> str:
    sentence = lambda: f"{random.choice(SUBJECTS)} {random.choice(VERBS)} {random.choice(OBJECTS)}".capitalize()  # noqa: E731
    return ". ".join(sentence() for _ in range(8)) + f". Number {random.randrange(10**9)}."


def change(gateway: Gateway, program: Path, asks_server: bool) -> dict[str, object]:
    """Makes the second generation, killed twice, switches to it and back. What that took."""
    model = ["other letters", "--dimensions", str(OTHER_DIMENSIONS)] if asks_server else [str(other_model(gateway))]
    command = [str(program), "embeddings", "reindex", "--model", *model]
    options = {"env": gateway.environment, "cwd": gateway.work_dir}
    first = gateway.psql(f"--command={ACTIVE}").strip()
    began, stored = time.monotonic(), []
    for share in (0.3, 0.6):
        say("making the second generation, to be killed")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        while (count := made(gateway)) < share * made(gateway, "active"):
            if process.poll() is not None:
                raise Failure("The command ended before it was killed; try more chunks")
            time.sleep(0.2)
        process.kill()
        process.wait()
        stored.append(count)
    say("making the rest")
    reindexed = output_of(command, 7200, **options)
    took_s = time.monotonic() - began
    generation = next(word for word in reindexed.split() if word.startswith("gen_"))
    # Servers look every five seconds.
    time.sleep(8)
    switched = output_of([*command[:2], "switch", generation], 600, **options)
    time.sleep(5)
    kept = next(word for word in switched.split("kept")[1].split() if word.startswith("gen_")).rstrip(":")
    back = output_of([*command[:2], "switch", kept], 600, **options)
    time.sleep(5)
    if gateway.psql(f"--command={ACTIVE}").strip() != first:
        raise Failure("The first generation is not active again")
    return {"took_s": round(took_s), "killed_at": stored, "said": [reindexed, switched, back]}


def made(gateway: Gateway, state: str = "building") -> int:
    query = f"SELECT count(*) FROM embeddings e JOIN embedding_generations g ON g.id = e.generation_id WHERE g.state = '{state}'"
    return int(gateway.psql(f"--command={query}").strip())


def other_model(gateway: Gateway) -> Path:
    """The program's own model, with the vector of the first token in place of the mean."""
    own, folder = Path(gateway.run("artifacts", "path", "model").strip()), OWN_DIR / "first-token"
    (folder / "1_Pooling").mkdir(parents=True)
    for name in FILES:
        os.symlink(own / name, folder / name)
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    return folder


class Load(threading.Thread):
    """Asks without a pause until it is stopped; remembers how long each took, and what failed."""

    kind = ""

    def __init__(self, gateway: Gateway, board: str):
        super().__init__(daemon=True)
        self.gateway, self.client, self.board = gateway, Client(gateway), board
        self.took_ms: list[float] = []
        self.errors: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            began = time.perf_counter()
            try:
                self.once(len(self.took_ms))
            except (Failure, OSError, http.client.HTTPException) as problem:
                self.errors.append(repr(problem))
                # A connection on which an answer is missing cannot be used again.
                self.client = Client(self.gateway)
            self.took_ms.append((time.perf_counter() - began) * 1000)

    def stop(self) -> None:
        self.stopping.set()
        self.join()


class Searching(Load):
    kind = "search"

    def __init__(self, gateway: Gateway, board: str, question: str):
        super().__init__(gateway, board)
        self.question = question
        self.scores: dict[str, set[float]] = {}

    def once(self, number: int) -> None:
        search = self.client.ask(SEARCH, board=self.board, query=self.question)["board"]["search"]
        generation = search["plan"]["generation"]
        if not generation or search["plan"]["note"]:
            raise Failure(f"found by words only: {search['plan']}")
        for edge in search["edges"]:
            if edge["node"]["node"].get("title") == "Lighthouse":
                self.scores.setdefault(generation, set()).add(round(edge["node"]["vectorScore"], 4))


class Writing(Load):
    kind = "write"

    def once(self, number: int) -> None:
        self.client.ask(WRITE, board=self.board, title=f"Written {number}", content=text())
        time.sleep(0.5)


def merged(searches: list[Searching]) -> dict[str, set[float]]:
    scores: dict[str, set[float]] = {}
    for one in searches:
        for generation, found in one.scores.items():
            scores.setdefault(generation, set()).update(found)
    return scores


if __name__ == "__main__":
    run_main(main, OWN_DIR / "gateway.log")
