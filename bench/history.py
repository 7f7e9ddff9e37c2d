#!/usr/bin/env python3
"""The model-checked history of `tests/history/`, for minutes instead of seconds, with its progress.

    python3 bench/history.py --minutes 5 [--seed N]

It builds the tests and the program as `cargo test` does, runs that one test, and ends with its exit code. What is checked
says the head of tests/history/mod.rs.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

TEST = "history::what_many_do_at_once_on_two_gateways_is_one_history"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5, help="how long clients write; what was heard is checked after")
    parser.add_argument("--seed", type=int, help="choices of an earlier run; another one each time if not given")
    given = parser.parse_args()
    if given.minutes <= 0 or (given.seed is not None and given.seed < 0):
        parser.error("--minutes must be more than 0, --seed not less")
    return given


def main() -> int:
    given = arguments()
    settings = {"RAGBOARD_HISTORY_SECONDS": str(max(1, round(given.minutes * 60)))}
    if given.seed is not None:
        settings["RAGBOARD_HISTORY_SEED"] = str(given.seed)
    # The number of operations is for runs that are bounded by it.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAGBOARD_HISTORY_")}
    command = ["cargo", "test", "--locked", "--test", "ragboard", "--", TEST, "--exact", "--nocapture"]
    began = None
    with subprocess.Popen(command, cwd=Path(__file__).resolve().parent.parent, env=kept | settings,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as test:
        try:
            for line in test.stdout:
                if line.startswith("history: "):
                    # Building does not count.
                    began = began or time.monotonic()
                    print(f"{time.monotonic() - began:6.0f} s  {line.removeprefix('history: ')}", end="", flush=True)
                else:
                    print(line, end="", flush=True)
        except KeyboardInterrupt:
            test.terminate()
            raise
    return test.returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
