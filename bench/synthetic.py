"""A board that is large enough for search to need an index: 200,000 chunks of 40,000 resources, made up and the same everywhere.

It goes into the tables past the gateway, by COPY, with what the jobs would have computed. Vectors lie around topics, as those of
texts do; words are as unevenly common as those of a language. Tags cut scopes out of it: `scattered` ones have resources of all
topics, `topical` ones those of few topics, which is where an index that is filtered after the walk loses its hits.
"""

import functools
import json
import math
import random
import subprocess
import uuid
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from operator import add
from pathlib import Path

from gateway import Failure, Gateway
from measuring import say

NODES = 40_000
CHUNKS = 5
TOPICS = 400
NODES_OF_TOPIC = NODES // TOPICS
DIMENSIONS = 384
# A vector is the middle of its topic and so much of chance, for each of its numbers.
NOISE = 0.9
VOCABULARY = 50_000
WORDS = 90
# Resources in a scope: 0.01, 0.1, 1, 10, 15 and 100 percent.
SIZES = [4, 40, 400, 4_000, 6_000, NODES]
# Scopes of one kind and size.
VARIANTS = 5
SEED = 7

BOARD = uuid.UUID(int=0x0000_0000_0000_7000_8000_0000_0000_00B1)
GENERATION = uuid.UUID(int=0x0000_0000_0000_7000_8000_0000_0000_00E1)
PARTITION = f"embeddings_{GENERATION.hex}"
HERE = Path(__file__).resolve().parent

COPY_NODES = "COPY nodes (id, board_id, type, x, y, metadata) FROM STDIN"
COPY_CHUNKS = "COPY bench.chunks FROM STDIN"
COPY_VECTORS = "COPY embeddings (generation_id, chunk_id, board_id, node_id, embedding) FROM STDIN"
COPY_SCOPES = "COPY bench.scopes FROM STDIN"


@dataclass(frozen=True)
class Scope:
    """Resources with a tag; all of the board where there is none."""

    kind: str
    nodes: int
    tag: str | None

    @property
    def percent(self) -> float:
        return self.nodes * 100 / NODES


def scopes() -> list[Scope]:
    """All scopes, those of one kind and size beside each other."""
    tagged = [Scope(kind, nodes, f"{kind}-{nodes}-{variant}")
              for nodes in SIZES[:-1] for kind in ("scattered", "topical") for variant in range(VARIANTS)]
    return [*tagged, Scope("all, tagged", NODES, "all"), Scope("all", NODES, None)]


def load(gateway: Gateway) -> None:
    """Makes the board, if it is not there yet."""
    if gateway.psql("--command=SELECT to_regclass('bench.loaded')").strip():
        return
    say("loading 200,000 chunks")
    gateway.psql(f"--file={HERE / 'search_begin.sql'}", f"--set=board={BOARD}", f"--set=generation={GENERATION}")
    chance = random.Random(SEED)
    topics = [topic for topic in range(TOPICS) for _ in range(NODES_OF_TOPIC)]
    # What was written one after the other is not of one topic.
    chance.shuffle(topics)
    ids = [str(uuid.UUID(int=0x0193 << 112 | number << 80 | 7 << 76 | 0b10 << 62 | chance.getrandbits(62)))
           for number in range(NODES)]
    tags = tags_of(topics, chance)
    copy(gateway, COPY_NODES, (
        f"{id}\t{BOARD}\tresource\t{number % 200 * 340}\t{number // 200 * 260}\t{json.dumps({'tags': tags[number]})}\n"
        for number, id in enumerate(ids)))
    copy(gateway, COPY_SCOPES, (f"{tag}\t{id}\n" for id, own in zip(ids, tags, strict=True) for tag in own))
    chunks = [[str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(CHUNKS)] for _ in ids]
    say("its words")
    copy(gateway, COPY_CHUNKS, (
        f"{chunk}\t{BOARD}\t{id}\t{place}\t{text}\n"
        for id, own in zip(ids, chunks, strict=True)
        for place, (chunk, text) in enumerate(zip(own, texts(chance), strict=False))))
    say("its vectors")
    vectors = vectors_of(topics, chance)
    copy(gateway, COPY_VECTORS, (
        f"{GENERATION}\t{chunk}\t{BOARD}\t{id}\t{next(vectors)}\n"
        for id, own in zip(ids, chunks, strict=True) for chunk in own))
    say("its indexes: minutes")
    gateway.psql(f"--file={HERE / 'search_end.sql'}", f"--set=partition={PARTITION}", f"--set=board={BOARD}", within_s=3600)


def copy(gateway: Gateway, statement: str, lines: Iterator[str]) -> None:
    """Sends rows to PostgreSQL as they are made."""
    command = [str(gateway.postgres_programs / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1",
               # No trigger logs it or asks for jobs, and no reference is looked up.
               "--command=SET session_replication_role = replica", f"--command={statement}"]
    loading = subprocess.Popen(command, env=gateway.postgres_environment, stdin=subprocess.PIPE, text=True)
    try:
        loading.stdin.writelines(lines)
        loading.stdin.close()
    except BrokenPipeError:
        pass
    finally:
        if loading.wait() != 0:
            raise Failure(f"{statement} failed; what PostgreSQL said stands above")


def tags_of(topics: list[int], chance: random.Random) -> list[list[str]]:
    """The tags of each resource."""
    members: list[list[int]] = [[] for _ in range(TOPICS)]
    for number, topic in enumerate(topics):
        members[topic].append(number)
    tags: list[list[str]] = [["all"] for _ in topics]
    for scope in scopes():
        if scope.kind == "scattered":
            chosen = chance.sample(range(NODES), scope.nodes)
        elif scope.kind == "topical":
            whole = chance.sample(range(TOPICS), max(1, scope.nodes // NODES_OF_TOPIC))
            chosen = [number for topic in whole for number in members[topic]][:scope.nodes]
        else:
            continue
        for number in chosen:
            tags[number].append(scope.tag)
    return tags


def texts(chance: random.Random) -> Iterator[str]:
    """Texts without end. The first word of the vocabulary stands in nearly all of them, the last ones in hardly any."""
    while True:
        yield " ".join(word(int(VOCABULARY * chance.random() ** 4)) for _ in range(WORDS))


@functools.cache
def word(number: int) -> str:
    """A word of made-up syllables, always the same for a number, that no dictionary of endings cuts short."""
    syllables = []
    # As many for all: a word is no beginning of another.
    for _ in range(3):
        number, rest = divmod(number, 60)
        syllables.append("bcdfgklmnprt"[rest // 5] + "aeiou"[rest % 5])
    return "".join(syllables) + "k"


def vectors_of(topics: list[int], chance: random.Random) -> Iterator[str]:
    """The vectors of all chunks in their order, of unit length, as PostgreSQL reads them."""
    middles = [[chance.gauss(0, 1) for _ in range(DIMENSIONS)] for _ in range(TOPICS)]
    # Chance is dear: a long stretch of it is made once, and each vector begins somewhere in it.
    pool = array("f", (chance.gauss(0, NOISE) for _ in range(4_000_000)))
    written = "[" + ",".join(["%.4f"] * DIMENSIONS) + "]"
    for topic in topics:
        for _ in range(CHUNKS):
            begin = chance.randrange(len(pool) - DIMENSIONS)
            vector = list(map(add, middles[topic], pool[begin:begin + DIMENSIONS]))
            length = math.sqrt(sum(value * value for value in vector))
            yield written % tuple(value / length for value in vector)
