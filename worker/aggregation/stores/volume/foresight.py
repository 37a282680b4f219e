"""Lists a folder of a mount before many of its files are opened, where the mount then knows them sooner.

Linux looks up names that are new to it one after the other, and on ossfs 1 and 2 each look-up is a request
or more. A driver that lists a folder learns all its names at once: by requests that overlap (ossfs 1 and
s3fs, 20 at a time), or by the listing itself (ossfs 2). It then answers look-ups from what it learnt, for as
long as it remembers that: a second, with the options of manifests/volume.yaml.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress

from .temporaries import Temporaries
from .volume import Volume

_FROM = 16
"""Files from which on a listing is tried: it costs a few requests itself."""

_FRESH_SECONDS = 1.0
"""How long a driver remembers at least what it listed; less, and listing was for nothing."""


def pays(wanted: int, held: int) -> bool:
    """Whether to list a folder of `held` files, of which so many are about to be opened.

    A listing saves time even if only a twentieth of the files are opened. But the driver sends a request for
    each file of the folder, so there may be at most as many others as files that are opened.
    """
    return wanted >= _FROM and held <= 2 * wanted


class Foresight:
    """Lets the kernel know the files of a mount before they are opened."""

    def __init__(self, volume: Volume, temporaries: Temporaries) -> None:
        self._volume = volume
        self._temporaries = temporaries
        self._listed: dict[str, float] = {}  # folders, and until when what their listing told is fresh

    def note_listing(self, folder: str) -> None:
        """Note that the folder was listed right now."""
        self._listed[folder] = time.monotonic() + _FRESH_SECONDS

    def learn(self, names: Sequence[str], held: int) -> None:
        """Look at files of one folder, which holds `held`, after a listing of it, where that pays.

        What fails is left to those who open the files.
        """
        if not pays(len(names), held) or not self._volume.is_remote():
            return
        folder = os.path.dirname(names[0])
        with suppress(OSError):
            if self._listed.get(folder, 0) < time.monotonic():
                self._temporaries.note(folder, os.listdir(self._volume.path(folder)))  # once for `sweep` too
            end = time.monotonic() + _FRESH_SECONDS
            # An object store lists by name, and what the driver learnt last it forgets last. Once the kernel
            # knows the names, the look-ups that are due again later overlap.
            for name in sorted(names, reverse=True):
                os.stat(self._volume.path(name))
                if time.monotonic() > end:
                    break
