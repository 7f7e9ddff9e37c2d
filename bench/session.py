"""A session of psql that stays open: statements one after the other, prepared ones too, with the time that each took.

It is for SQL that is compared with the gateway. Single statements that prepare or check a run go through `Gateway.psql`.
"""

import re
import subprocess

from gateway import Failure, Gateway

TOOK = re.compile(r"^Time: ([\d.]+) ms")


class Session:
    """One connection to PostgreSQL; a context manager."""

    def __init__(self, gateway: Gateway):
        self.command = [str(gateway.postgres_programs / "psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align",
                        "--set=ON_ERROR_STOP=1"]
        self.environment = gateway.postgres_environment
        self.number = 0

    def __enter__(self) -> "Session":
        self.process = subprocess.Popen(self.command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.run("\\timing on")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()

    def run(self, text: str) -> tuple[list[list[str]], float]:
        """The rows of all statements of a text, which ends them with semicolons, and the milliseconds that they took together."""
        self.number += 1
        end = f"end of {self.number}"
        try:
            self.process.stdin.write(f"{text}\n\\echo {end}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failure("psql has ended") from None
        rows, took_ms, said = [], 0.0, []
        for line in self.process.stdout:
            line = line.rstrip("\n")
            if line == end:
                return rows, took_ms
            said.append(line)
            if time := TOOK.match(line):
                took_ms += float(time[1])
            elif line:
                rows.append(line.split("|"))
        raise Failure("psql failed:\n" + "\n".join(said[-10:]))
