"""The two programs that make the load: wrk for requests to the gateway, pgbench for bare SQL.

Both keep a fixed number of connections busy all the time, so requests per second and latency are two sides of one thing.
They run on the machine that is measured, and take CPU time from it.
"""

import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from gateway import Failure, Gateway, output_of

HERE = Path(__file__).resolve().parent
THREADS = 2
# What a run may take beyond its own length: starting, the last answers, reading the log.
PATIENCE_S = 60


@dataclass(frozen=True)
class Load:
    """What one run did."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    # Of all answers together, without headers; None for SQL.
    answer_bytes: int | None


def wrk(gateway: Gateway, bodies: Path, answer_lengths: range, headers: dict[str, str], token: str, connections: int,
        seconds: int, *, held: str = "") -> Load:
    """Sends the lines of a file as requests, in turn, and checks status and length of every answer, and that it holds a text."""
    command = [
        "wrk", f"--threads={min(THREADS, connections)}", f"--connections={connections}", f"--duration={seconds}s",
        "--timeout=30s", f"--script={HERE / 'wrk.lua'}", f"http://127.0.0.1:{gateway.port}/graphql", "--",
        str(bodies), str(time.time_ns()), str(answer_lengths.start), str(answer_lengths.stop - 1), held,
        *(f"{name}={value}" for name, value in headers.items()),
    ]
    # Arguments are seen by everybody on the machine, so the token is none.
    printed = output_of(command, seconds + PATIENCE_S, env=os.environ | {"BENCH_TOKEN": token})
    line = next((line for line in printed.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise Failure(f"wrk gave no result:\n{printed}")
    result = json.loads(line.removeprefix("RESULT "))
    if not result["requests"]:
        raise Failure(f"Not one request was answered within {seconds} s")
    if result["wrong_status"] or result["wrong_length"] or result["without_text"] or result["lost"]:
        raise Failure(f"Answers were wrong or missing: {result}")
    return Load(result["requests"], result["seconds"], result["p50_ms"], result["p99_ms"], int(result["body_bytes"]))


def pgbench(gateway: Gateway, script: Path, connections: int, seconds: int, **variables: int) -> Load:
    """Runs a script over and over, with prepared statements. `variables` are those that the script does not set itself."""
    with tempfile.TemporaryDirectory(dir=gateway.work_dir) as log_dir:
        command = [
            str(gateway.postgres_programs / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--client={connections}",
            f"--jobs={min(THREADS, connections)}", f"--time={seconds}", f"--file={script}", "--random-seed=1", "--log",
            f"--log-prefix={log_dir}/transactions", *(f"--define={name}={value}" for name, value in variables.items()),
        ]
        output_of(command, seconds + PATIENCE_S, env=gateway.postgres_environment)
        # client_id transaction_no time_us …
        took_ms = [int(line.split()[2]) / 1000
                   for log in Path(log_dir).iterdir() for line in log.read_text().splitlines()]
    if len(took_ms) < 2:
        raise Failure(f"{script.name} did not run within {seconds} s")
    percentiles = statistics.quantiles(took_ms, n=100)
    return Load(len(took_ms), seconds, percentiles[49], percentiles[98], None)
