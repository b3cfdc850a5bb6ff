"""Run a command to which the modes of files apply, also when root runs it, and with a largest file.

python powerless.py OCTETS COMMAND...
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


def words(octets: int, command: list[str]) -> list[str]:
    """What to run instead of a command."""
    return [sys.executable, str(Path(__file__)), str(octets), *command]


def main() -> None:
    if os.geteuid() == 0:
        system = ctypes.CDLL(None, use_errno=True)
        for one in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            assert system.prctl(_PR_CAPBSET_DROP, one, 0, 0, 0) == 0, ctypes.get_errno()
    _, highest = resource.getrlimit(resource.RLIMIT_FSIZE)  # which the confined processes lower
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), highest))
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
