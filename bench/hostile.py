"""What hostile documents cost the gateway: CPU time and memory until the answer, its size, and how long `/livez` takes meanwhile.

Each document is sent three times by nobody in particular to a gateway with a PostgreSQL of its own in `target/bench`. CPU
time is that of the gateway's process, memory its peak above what it had before. `RAGBOARD` names another program than the
release build, which may be an older one: one that ends is told and started again.
"""

import http.client
import json
import os
import sys
import threading
import time
from pathlib import Path

from gateway import CLOCK_TICKS_PER_S, Gateway
from measuring import WORK_DIR, find_program, run_main

BODY_BYTES = (1 << 20) - 200
TIMES = 3
ANSWER_WITHIN_S = 60
DOUBLE = "".join(f"fragment f{n} on Query{{...f{n + 1} ...f{n + 1}}}" for n in range(28))
CHAIN = "".join(f"fragment f{n} on Query{{...f{n + 1}}}" for n in range(5_400))


def filled(unit: str, before: str = "{viewer{", after: str = "}}") -> str:
    return before + unit * ((BODY_BYTES - len(before) - len(after)) // len(unit)) + after


def numbered(make, before: str, after: str) -> str:
    parts, length = [before], len(before) + len(after)
    for n in range(1_000_000):
        part = make(n)
        length += len(part)
        if length > BODY_BYTES:
            break
        parts.append(part)
    return "".join(parts) + after


DOCUMENTS = {
    "1,400 brackets": "{node(id:" + "[" * 1_400 + "1" + "]" * 1_400 + "){id}}",
    "5,000 objects": "{node(id:" + "{a:" * 5_000 + "1" + "}" * 5_000 + "){id}}",
    "5,000 in a directive": "{viewer @skip(if:" + "[" * 5_000 + "true" + "]" * 5_000 + "){id}}",
    "5,000 in a default": "query($a:ID=" + "[" * 5_000 + "1" + "]" * 5_000 + "){node(id:$a){id}}",
    "5,400 chained fragments": "{...f0}" + CHAIN + "fragment f5400 on Query{viewer{id}}",
    "5,400 unused fragments": "{viewer{id}}" + CHAIN + "fragment f5400 on Query{viewer{id}}",
    "28 doublings, no leaf": "{...f0}" + DOUBLE,
    "28 doublings, unknown leaf": "{...f0}" + DOUBLE + "fragment f28 on Query{nothing}",
    "4,500 operations": "".join(f"query q{n}{{__typename}}" for n in range(4_500)),
    "variables by default": "query($n:Int=100){boards(first:$n){nodes{nodes(first:$n){nodes{links(first:$n){totalCount}}}}}}",
    "ancestors of ancestors": "{node(id:\"x\"){" + "...on FolderNode{ancestors{" * 7 + "id" + "}}" * 7 + "}}",
    "introspection in itself": "{__schema{types{" + "fields{type{" * 4 + "name" + "}}" * 4 + "}}}",
    "1 MB of fields": filled("id "),
    "1 MB of unknown fields": numbered(lambda n: f"emali{n} ", "{viewer{", "}}"),
    "1 MB of aliases": numbered(lambda n: f"a{n}:id ", "{viewer{", "}}"),
    "1 MB of one name": filled("a"),
    "1 MB of digits": filled("1", "{boards(first:", "){totalCount}}"),
    "1 MB of a string": filled("x", "{node(id:\"", "\"){id}}"),
    "1 MB of escapes": filled("\\n", "{node(id:\"", "\"){id}}"),
    "1 MB of blanks": filled(" "),
    "1 MB of comments": filled("#\n"),
    "1 MB of brackets": filled("[", "{node(id:", ""),
    "1 MB of directives": filled("@a", "{viewer", "{id}}"),
    "1 MB of variables": numbered(lambda n: f"$a{n}:Int ", "query(", "){viewer{id}}"),
    "1 MB of fragments": "{...f0}" + numbered(lambda n: f"fragment f{n} on Query{{...f{n + 1}}}", "", ""),
    "15,000 tokens": "{viewer{" + "id " * 4_900 + "}}",
}


def cpu_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1_000 / CLOCK_TICKS_PER_S


def memory_kib(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


class Lives(threading.Thread):
    """Asks `/livez` again and again; keeps the longest wait."""

    def __init__(self, port: int):
        super().__init__(daemon=True)
        self.port, self.longest_ms, self.stopping = port, 0.0, threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_WITHIN_S)
                connection.request("GET", "/livez")
                connection.getresponse().read()
                connection.close()
            except OSError:
                self.longest_ms = float("inf")
                return
            self.longest_ms = max(self.longest_ms, (time.monotonic() - began) * 1_000)
            self.stopping.wait(0.002)


def measured(gateway: Gateway, document: str) -> list[str]:
    pid = gateway.process.pid
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before_kib, before_ms = memory_kib(pid, "VmRSS"), cpu_ms(pid)
    lives = Lives(gateway.port)
    lives.start()
    code, size = "", 0
    try:
        for _ in range(TIMES):
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=ANSWER_WITHIN_S)
            connection.request("POST", "/graphql", json.dumps({"query": document}), {"Content-Type": "application/json"})
            body = connection.getresponse().read()
            connection.close()
            size = len(body)
            errors = json.loads(body).get("errors")
            code = errors[0]["extensions"]["code"] if errors else "answered"
    except (OSError, http.client.HTTPException) as failure:
        code = f"no answer ({type(failure).__name__})"
    lives.stopping.set()
    lives.join()
    if gateway.process.poll() is not None:
        return [code, "the process ended", "", "", ""]
    spent = (cpu_ms(pid) - before_ms) / TIMES
    grown = (memory_kib(pid, "VmHWM") - before_kib) / 1_024
    return [code, f"{spent:.0f}", f"{grown:.1f}", f"{size:,}", f"{lives.longest_ms:.0f}"]


def main() -> None:
    program = find_program()
    work_dir = WORK_DIR / "hostile"
    work_dir.mkdir(parents=True, exist_ok=True)
    print(f"{program}, {os.cpu_count()} cores\n")
    print("| document | bytes | answer | CPU ms | peak MiB more | answer bytes | `/livez` max ms |\n|---|--:|---|--:|--:|--:|--:|")
    rows, open_documents = [], list(DOCUMENTS.items())
    while open_documents:
        with Gateway(program, work_dir) as gateway:
            while open_documents:
                name, document = open_documents.pop(0)
                row = [name, f"{len(document):,}", *measured(gateway, document)]
                rows.append(row)
                print("| " + " | ".join(row) + " |", flush=True)
                if gateway.process.poll() is not None or row[2].startswith("no answer"):
                    gateway.process.kill()
                    break
    (work_dir / "results.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    run_main(main, WORK_DIR / "hostile/gateway.log")
