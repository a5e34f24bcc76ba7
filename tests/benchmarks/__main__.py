"""``python -m tests.benchmarks [a b c d e f] [--repeat N] [--small] [--profile]``."""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measure import compare, cores, profile
from tests.benchmarks.report import table

#: Letter → module with ``build(scratch, small=...)``, a context manager over benchmarks.
_MODULES = {
    "a": "large_database",
    "b": "many_targets",
    "c": "object_store",
    "d": "many_files",
    "e": "codec_throughput",
    "f": "database_servers",
}


def main() -> int:
    """Build, measure and print each benchmark that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("which", nargs="*", choices=[[], *_MODULES], metavar="a b c d e f", help="default: all of them")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds; medians are reported (default: 3)")
    parser.add_argument("--small", action="store_true", help="a tenth of the data: to try the harness, not to measure")
    parser.add_argument(
        "--scratch", type=Path, metavar="DIR", help="where the data is built (default: a temporary one)"
    )
    parser.add_argument("--profile", action="store_true", help="add where the time goes, of ways that are one process")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, {cores()} cores, median of {arguments.repeat}\n")
    for letter in arguments.which or sorted(_MODULES):
        build = importlib.import_module(f"tests.benchmarks.{_MODULES[letter]}").build
        with tempfile.TemporaryDirectory(prefix="restore-drill-benchmark-", dir=arguments.scratch) as scratch:
            _tell(f"({letter}) building its data in {scratch}")
            with build(Path(scratch), small=arguments.small) as benchmarks:
                for benchmark in benchmarks:
                    series = compare(benchmark, arguments.repeat, _tell)
                    print(table(benchmark, series), end="\n\n", flush=True)
                    if arguments.profile:
                        print("\n".join(map(profile, benchmark.ways)), flush=True)
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
