"""Runs a command, then prints one more line: seconds, user and system seconds, KiB of peak memory, exit code.

A process of its own, and a small one (`python3 -I -S`): Linux counts the memory of the process that forked
towards the program that comes of it, so that no figure is below this one's own, about 8 MiB.
"""

import os
import sys
import time


def main() -> None:
    """Spawn, wait, print."""
    command = sys.argv[1:]
    began = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    print(seconds, usage.ru_utime, usage.ru_stime, usage.ru_maxrss, os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
