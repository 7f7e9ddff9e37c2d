"""The SQL that search through the API is held against: what is exact, written as simply as possible, and what is fast, which is
the statement of the gateway by itself.

The data are those of synthetic.py. Nothing here goes through the gateway.
"""

from uuid import UUID

from session import Session
from synthetic import BOARD, DIMENSIONS, GENERATION, Scope

# What the gateway ranks: the best 200, by nodes.
CANDIDATES = 200
# Chunks at which the gateway looks to know how common words are; see store/search/mod.rs.
SAMPLE = 1_000

# No index offers an order where the least distance is asked for.
NEAREST = """SELECT {hit}, 1 - min(e.embedding <=> '{vector}') FROM embeddings e {of_scope}
  WHERE e.generation_id = '{generation}' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {most};"""
IN_SCOPE = "JOIN bench.scopes s ON s.node_id = {table}.node_id AND s.tag = '{tag}'"

BEST = """WITH words AS (
    SELECT lexeme_place(w.lexeme) AS place, cardinality(w.positions) AS times FROM unnest(search_words('english', '{text}')) w
), sample AS MATERIALIZED (
    SELECT c.weights FROM chunks c {of_scope} WHERE c.board_id = '{board}' AND c.id <= '{last}'
), q AS MATERIALIZED (
    SELECT ('{{' || string_agg(place || ':' || weight::real, ',') || '}}/{places}')::sparsevec AS weights FROM (
        SELECT w.place, sum(w.times * ln(1 + (n - f + .5::float8) / (f + .5))) AS weight FROM words w, LATERAL (
            SELECT (SELECT count(*) FROM sample)::float8 AS n, (SELECT count(*) FROM sample s
                WHERE (s.weights <#> ('{{' || w.place || ':1}}/{places}')::sparsevec) < 0)::float8 AS f) k GROUP BY 1) x
)
SELECT c.node_id, max(-(c.weights <#> q.weights)) FROM q CROSS JOIN chunks c {of_scope}
WHERE c.board_id = '{board}' GROUP BY 1 HAVING max(-(c.weights <#> q.weights)) > 0 ORDER BY 2 DESC, 1 LIMIT {most};"""

MEMBERS = """FROM indexed_resources i JOIN nodes n ON n.id = i.node_id WHERE n.deleted_at IS NULL AND i.board_id = ANY($2)
  {tags}"""
TAGS = "AND n.metadata -> 'tags' ?& $4"
RANKED = """v AS (SELECT *, row_number() OVER (ORDER BY distance, hit) AS place FROM (SELECT DISTINCT ON (hit) node_id AS hit,
    board_id, chunk_id, distance, node_id FROM near ORDER BY 1, distance, chunk_id) best ORDER BY distance, hit LIMIT $5)
  SELECT v.board_id, v.node_id, v.chunk_id, v.place, 1 - v.distance, (SELECT count(*) FROM near) FROM v;"""
SCAN = f"""WITH area AS MATERIALIZED (SELECT i.board_id, i.node_id, i.config {MEMBERS}),
  near AS MATERIALIZED (SELECT e.board_id, e.node_id, e.chunk_id, (e.embedding <=> $1) + 0 AS distance FROM area a
    JOIN embeddings e ON e.board_id = a.board_id AND e.node_id = a.node_id WHERE e.generation_id = $3), {RANKED}"""
WALK = f"""WITH near AS MATERIALIZED (SELECT e.board_id, e.node_id, e.chunk_id,
    (e.embedding::vector({DIMENSIONS}) <=> $1) AS distance FROM embeddings e WHERE e.generation_id = $3
    AND EXISTS (SELECT 1 {MEMBERS} AND i.node_id = e.node_id OFFSET 0)
    ORDER BY (e.embedding::vector({DIMENSIONS}) <=> $1) LIMIT 4 * $5), {RANKED}"""
SETTINGS = """SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('enable_seqscan', 'off', true),
  set_config('enable_sort', 'off', true), set_config('hnsw.ef_search', '200', true);"""


def prepare(session: Session) -> None:
    """Prepares what `direct` executes. PostgreSQL then decides between plans as it does for the gateway."""
    for name, text in (("scan", SCAN), ("walk", WALK)):
        session.run(f"PREPARE {name}_all (vector, uuid[], uuid, text[], bigint) AS {text.format(tags='AND $4 IS NOT NULL')}")
        session.run(f"PREPARE {name}_tag (vector, uuid[], uuid, text[], bigint) AS {text.format(tags=TAGS)}")


def direct(session: Session, scope: Scope, vector: list[float], is_walk: bool) -> float:
    """Milliseconds of the gateway's statement without the gateway."""
    given = f"('{written(vector)}', '{{{BOARD}}}', '{GENERATION}', '{{{scope.tag or ''}}}', {CANDIDATES})"
    name = f"{'walk' if is_walk else 'scan'}_{'tag' if scope.tag else 'all'}"
    execute = f"EXECUTE {name} {given};"
    return session.run(f"BEGIN; {SETTINGS} {execute} COMMIT;" if is_walk else execute)[1]


def nearest(session: Session, scope: Scope, vector: list[float], hit: str, most: int) -> list[tuple[UUID, float]]:
    """What is nearest, certainly, with its score: resources or chunks."""
    rows, _ = session.run(NEAREST.format(hit=f"e.{hit}", vector=written(vector), of_scope=of_scope(scope, "e"),
                                         generation=GENERATION, most=most))
    return [(UUID(id), float(score)) for id, score in rows]


def best(session: Session, scope: Scope, text: str, rows: int, most: int) -> list[tuple[UUID, float]]:
    """What has the most weight of words, certainly, of a scope with so many chunks."""
    [[places]], _ = session.run("SELECT atttypmod FROM pg_attribute WHERE attrelid = 'chunks'::regclass AND attname = 'weights';")
    last = UUID(int=int(SAMPLE / rows * 2 ** 64) << 64 if rows > SAMPLE else (1 << 128) - 1)
    found, _ = session.run(BEST.format(text=text, of_scope=of_scope(scope, "c"), board=BOARD, last=last, places=places, most=most))
    return [(UUID(id), float(score)) for id, score in found]


def of_scope(scope: Scope, table: str) -> str:
    return IN_SCOPE.format(table=table, tag=scope.tag) if scope.tag else ""


def written(vector: list[float]) -> str:
    return "[" + ",".join(f"{value:.7g}" for value in vector) + "]"
