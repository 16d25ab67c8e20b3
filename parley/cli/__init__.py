"""The `parley` command: parse, build, call. The only room that prints.

`parser.py` holds the grammar; each command is a function of one of the modules beside it, imported
when it is called, so that reading data does not wait for torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from parley.cli.parser import Command, parse
from parley.dialects import Reject
from parley.errors import ParleyError

GATE_SAYS_NO = 1
BAD_INPUT = 2
INTERRUPTED = 130
SHOWN_REJECTS = 50


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 a check says no, 2 bad input with one sentence on stderr."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end is an end by Ctrl-C
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        command: Command = arguments.command
        return command(arguments)
    except ParleyError as error:
        return _fault(str(error))
    except KeyboardInterrupt:
        print("\nparley: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fault(f"{where}{error.strerror or error}; what was finished before is kept")


def _fault(sentence: str) -> int:
    print(f"parley: {' '.join(sentence.split())}", file=sys.stderr)
    return BAD_INPUT


def show_rejects(rejects: Sequence[Reject], file: Path) -> None:
    """Name the rows that were left out on stderr, the first ones of many."""
    for item in rejects[:SHOWN_REJECTS]:
        field = f", field '{item.field}'" if item.field else ""
        print(f"{file}, record {item.record}{field}: {item.reason}", file=sys.stderr)
    if len(rejects) > SHOWN_REJECTS:
        print(f"… and {len(rejects) - SHOWN_REJECTS} more", file=sys.stderr)


def show_json(values: object) -> None:
    """One JSON object on stdout."""
    print(json.dumps(values, ensure_ascii=False))
