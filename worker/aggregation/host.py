"""This machine, as the names of temporaries and a run's journal have it."""

import os


def name() -> str:
    """The host's name, with nothing in it that parts a temporary's name or a note."""
    return os.uname().nodename.replace(".", "-").replace(" ", "-")


def name_for_pids() -> str:
    """This host and PID namespace: process numbers mean the same thing only within both."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return f"{name()}-{namespace}"
