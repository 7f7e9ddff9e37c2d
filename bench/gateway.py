"""The gateway that is measured, with its own PostgreSQL: started, asked, looked at, and stopped.

It listens on loopback ports that the system hands out. Where they are, and where the data lies, it says itself when it
is ready. `DATABASE_URL` is taken from its environment: the load and the data are for nobody else's database. A second
gateway can be started beside the first, on the PostgreSQL of that one.
"""

import http.client
import os
import re
import subprocess
import time
from pathlib import Path

READY_WITHIN_S = 180
# Longer than the gateway gives running requests plus what it gives PostgreSQL.
STOPPED_WITHIN_S = 120
ANSWER_WITHIN_S = 60

CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Variables that would lead the gateway somewhere else. All others are left to whoever wants to measure what they do.
FOREIGN = {"DATABASE_URL", "DATABASE_LISTEN_URL", "RAGBOARD_CONFIG", "RAGBOARD_METRICS_ADDRESS"}

PLACE_OF_DATA = re.compile(r"^ +data +(.+) \(own PostgreSQL on port (\d+)\)$", re.MULTILINE)
PLACE_OF_API = re.compile(r"^ +API +http://127\.0\.0\.1:(\d+)/graphql$", re.MULTILINE)


class Failure(Exception):
    """Something that ends the benchmark; its text is for people."""


class Gateway:
    """A running gateway; a context manager, which has stopped everything when it ends."""

    def __init__(self, program: Path, work_dir: Path, first: "Gateway | None" = None):
        """With `first`, one that shares the database of that gateway and its data folder, where the secret of tokens is."""
        self.program = program
        self.work_dir = work_dir
        self.first = first
        self.log = work_dir / ("second_gateway.log" if first else "gateway.log")
        kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        self.environment = kept | {
            "RAGBOARD_DATA_DIR": str(work_dir / "data"),
            "RAGBOARD_LISTEN": "127.0.0.1:0",
            "RAGBOARD_GRAPHIQL": "false",
        }
        if first:
            url = "postgres://{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}"
            self.environment["DATABASE_URL"] = url.format(**first.postgres_environment)

    def __enter__(self) -> "Gateway":
        with self.log.open("w") as log:
            # A group of its own: Ctrl-C is for this program, which then stops the gateway in order. The working
            # directory has no ragboard.toml.
            self.process = subprocess.Popen(
                [self.program, "serve", "--no-demo"], cwd=self.work_dir, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)
        try:
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not (api := PLACE_OF_API.search(text := self.log.read_text())):
            if self.process.poll() is not None:
                raise Failure(f"The gateway did not start:\n{text}")
            if time.monotonic() > deadline:
                raise Failure(f"The gateway was not ready after {READY_WITHIN_S} s; see {self.log}")
            time.sleep(0.05)
        self.port = int(api[1])
        if self.first:
            return
        data = PLACE_OF_DATA.search(text)
        if not data:
            raise Failure(f"The gateway runs on a database that is not its own; see {self.log}")
        self.data_dir = Path(data[1])
        self.postmaster_pid = int((self.data_dir / "postgres/postmaster.pid").read_text().split()[0])
        # The programs beside the server are of its version.
        self.postgres_programs = Path(f"/proc/{self.postmaster_pid}/exe").resolve().parent
        self.postgres_environment = {
            "PGHOST": "127.0.0.1", "PGPORT": data[2], "PGUSER": "ragboard", "PGDATABASE": "ragboard",
            "PGPASSWORD": (self.data_dir / "postgres.password").read_text().strip(),
        }

    def _stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            # Its watchdog stops PostgreSQL then.
            self.process.kill()
            self.process.wait()
            raise Failure(f"The gateway had to be killed, it did not stop within {STOPPED_WITHIN_S} s") from None

    def run(self, *arguments: str) -> str:
        """What a command of the program prints; it works on the data of this server."""
        return output_of([str(self.program), *arguments], 60, env=self.environment, cwd=self.work_dir)

    def psql(self, *arguments: str, within_s: float = 60) -> str:
        """What PostgreSQL's client prints, one row a line."""
        client = str(self.postgres_programs / "psql")
        fixed = [client, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        return output_of([*fixed, *arguments], within_s, env=self.postgres_environment)

    def answers(self, bodies: list[str], headers: dict[str, str]) -> list[bytes]:
        """The answers to requests that are sent one after the other."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_WITHIN_S)
        try:
            return [self._answer(connection, body, headers) for body in bodies]
        finally:
            connection.close()

    @staticmethod
    def _answer(connection: http.client.HTTPConnection, body: str, headers: dict[str, str]) -> bytes:
        connection.request("POST", "/graphql", body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise Failure(f"The gateway answered with status {response.status}: {answer[:500]!r}")
        return answer

    def sql_statements(self) -> int:
        """How many SQL statements the gateway has run so far, those of its background tasks among them."""
        return sum(self.sql_statements_by_name().values())

    def sql_statements_by_name(self) -> dict[str, int]:
        """The same, by the names that the gateway gives its statements. BEGIN and COMMIT have none and are not counted."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_WITHIN_S)
        try:
            connection.request("GET", "/metrics")
            metrics = connection.getresponse().read().decode()
        finally:
            connection.close()
        counts = re.findall(r'^db_query_duration_seconds_count\{[^}]*="([^"]*)"\} (\d+)$', metrics, re.MULTILINE)
        return {name: int(count) for name, count in counts}

    def cpu_s(self) -> float:
        """CPU time that the gateway's process has taken, in seconds; PostgreSQL's is not in it."""
        return cpu_ticks(self.process.pid)[0] / CLOCK_TICKS_PER_S

    def postgres_cpu_s(self) -> float:
        """CPU time that PostgreSQL has taken with all its processes, those that have ended too, in seconds."""
        while True:
            ended_before = cpu_ticks(self.postmaster_pid)[1]
            children = sum(cpu_ticks(pid)[0] for pid in children_of(self.postmaster_pid))
            own, ended = cpu_ticks(self.postmaster_pid)
            # A child that ended meanwhile would be counted twice, or not at all.
            if ended == ended_before:
                return (own + ended + children) / CLOCK_TICKS_PER_S

    def resident_mib(self) -> float:
        """Memory that the gateway's process takes, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[1]) / 1024


def output_of(command: list[str], within_s: float, **options: object) -> str:
    """What a command prints, if it succeeds in time."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(command, timeout=within_s, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, **options)
    except FileNotFoundError:
        raise Failure(f"There is no {name}; bench/README.md says what is needed") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{name} did not end within {within_s:.0f} s") from None
    if done.returncode != 0:
        raise Failure(f"{name} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty when there is no such process any more."""
    try:
        # The name before it stands in parentheses and may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu_ticks(pid: int) -> tuple[int, int]:
    """CPU time of a process, and of its children that have ended, each in user and kernel mode together."""
    fields = stat_fields(pid)
    if not fields:
        return 0, 0
    user, system, children_user, children_system = map(int, fields[11:15])
    return user + system, children_user + children_system


def children_of(parent: int) -> list[int]:
    """Processes that a process has started and that run now."""
    running = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in running if (fields := stat_fields(pid)) and int(fields[1]) == parent]
