#!/usr/bin/env python3
"""Makes collections for retrieval.py out of public test collections: documents, queries, and which document answers which query.

Nothing is downloaded here, and no collection is kept in this repository; bench/README.md says where they come from. It reads the
formats in which they are passed around:

    cranfield          cran.all.1400, cran.qry, cranqrel
    cranfield-sources  the same; the paper that a question was asked about is its best answer
    cisi               CISI.ALL, CISI.QRY, CISI.REL
    medline            MED.ALL, MED.QRY, MED.REL
    npl                doc-text, query-text, rlv-ass
    beir               corpus.jsonl, queries.jsonl, qrels/test.tsv (SciFact, NFCorpus and others)

and writes docs.jsonl ({"id", "title", "text"}), queries.jsonl ({"id", "text"}) and qrels.tsv (query, document, grade from 0).
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Cranfield's codes: from 1, a complete answer, to 4, of minimum interest. Its -1 marks the paper about which a question was
# asked: one for each question, and nobody judged it. Published figures count it as not relevant or as relevant.
CRANFIELD_GRADES = {"1": 4, "2": 3, "3": 2, "4": 1, "-1": 0}
CRANFIELD_SOURCE_GRADE = 5


@dataclass(frozen=True)
class Document:
    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Judged:
    """A collection. Grades are by query and document."""

    docs: list[Document]
    queries: dict[str, str]
    grades: dict[tuple[str, str], int]


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes collections for retrieval.py; bench/README.md has more.")
    parser.add_argument("kind", choices=READERS, help="the format; see the head of this file")
    parser.add_argument("source", type=Path, help="folder with the files of the collection")
    parser.add_argument("target", type=Path, help="folder to write; made if it is not there")
    options = parser.parse_args()
    judged = READERS[options.kind](options.source)
    write(judged, options.target)
    relevant = sum(grade > 0 for grade in judged.grades.values())
    print(f"{options.target}: {len(judged.docs)} documents, {len(judged.queries)} queries, {relevant} relevant pairs")


def write(judged: Judged, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    docs = ({"id": doc.id, "title": doc.title, "text": doc.text} for doc in judged.docs)
    queries = ({"id": id, "text": text} for id, text in judged.queries.items())
    for name, rows in (("docs.jsonl", docs), ("queries.jsonl", queries)):
        (target / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    lines = (f"{query}\t{doc}\t{grade}\n" for (query, doc), grade in judged.grades.items())
    (target / "qrels.tsv").write_text("".join(lines))


def read_cranfield(source: Path) -> Judged:
    docs = [smart_document(record) for record in smart(source / "cran.all.1400")]
    # Judgements count the queries from 1; the numbers in the file have gaps.
    queries = {str(number): joined(record["W"]) for number, record in enumerate(smart(source / "cran.qry"), start=1)}
    rows = fields(source / "cranqrel")
    return Judged(docs, queries, {(query, doc): CRANFIELD_GRADES[code] for query, doc, code in rows})


def read_cranfield_sources(source: Path) -> Judged:
    judged = read_cranfield(source)
    rows = fields(source / "cranqrel")
    sources = {(query, doc): CRANFIELD_SOURCE_GRADE for query, doc, code in rows if code == "-1"}
    return Judged(judged.docs, judged.queries, judged.grades | sources)


def read_cisi(source: Path) -> Judged:
    return read_smart(source, "CISI")


def read_medline(source: Path) -> Judged:
    return read_smart(source, "MED")


def read_smart(source: Path, name: str) -> Judged:
    """Collections whose judgements are pairs: what they name is relevant."""
    docs = [smart_document(record) for record in smart(source / f"{name}.ALL")]
    queries = {record["I"]: joined(record.get("W", "")) for record in smart(source / f"{name}.QRY")}
    # The document comes after the query; some copies have a column between, which is 0 throughout.
    pairs = [(row[0], row[2] if row[1] == "0" else row[1]) for row in fields(source / f"{name}.REL")]
    return Judged(docs, queries, dict.fromkeys(pairs, 1))


def smart(path: Path) -> Iterator[dict[str, str]]:
    """Records of the SMART system: `.I` and a number begin one, `.T`, `.W` and others alone on a line begin its fields."""
    record: dict[str, str] = {}
    field = ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if begins := re.fullmatch(r"\.I\s+(\d+)\s*", line):
            if record:
                yield record
            record, field = {"I": str(int(begins[1]))}, ""
        elif begins := re.fullmatch(r"\.([A-Z])\s*", line):
            field = begins[1]
        elif field:
            record[field] = f"{record.get(field, '')}{line}\n"
    if record:
        yield record


def smart_document(record: dict[str, str]) -> Document:
    return Document(record["I"], joined(record.get("T", "")), record.get("W", "").strip())


def read_npl(source: Path) -> Judged:
    docs = [Document(id, "", text) for id, text in slashed(source / "doc-text")]
    queries = {id: joined(text).lower() for id, text in slashed(source / "query-text")}
    pairs = [(query, doc) for query, found in slashed(source / "rlv-ass") for doc in found.split()]
    return Judged(docs, queries, dict.fromkeys(pairs, 1))


def slashed(path: Path) -> Iterator[tuple[str, str]]:
    """Records that end with a line of a slash and begin with a line of a number."""
    for record in re.split(r"^\s*/\s*$", path.read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE):
        id, _, text = record.strip().partition("\n")
        if id:
            yield id.strip(), text.strip()


def read_beir(source: Path) -> Judged:
    docs = [Document(row["_id"], row.get("title", ""), row["text"]) for row in json_lines(source / "corpus.jsonl")]
    grades = {}
    for query, doc, grade in fields(source / "qrels/test.tsv"):
        if grade != "score":
            grades[query, doc] = int(grade)
    judged = {query for query, _ in grades}
    queries = {row["_id"]: row["text"] for row in json_lines(source / "queries.jsonl") if row["_id"] in judged}
    return Judged(docs, queries, grades)


def json_lines(path: Path) -> Iterable[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def fields(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def joined(text: str) -> str:
    """On one line."""
    return " ".join(text.split())


READERS = {"cranfield": read_cranfield, "cranfield-sources": read_cranfield_sources, "cisi": read_cisi, "medline": read_medline,
           "npl": read_npl, "beir": read_beir}


if __name__ == "__main__":
    try:
        main()
    except (OSError, KeyError, ValueError) as problem:
        sys.exit(f"error: {problem!r}: is this the collection it is said to be?")
