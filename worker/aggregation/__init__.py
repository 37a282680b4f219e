"""Joins numbered files, level by level, into one result, on a volume or an object store.

A script (process.py, merge.py, prepare.py, pipeline.py) parses its arguments with `cli` and calls `steps` or
`runner`. These know the arithmetic (`tree`) and the names (`layout`) and talk to one `storage`, opened from
a `location`. There is one module a store, and each joins files in the best way that it can: `local` for
directories and mounts, by the system calls of `fastcopy`. Whatever goes wrong becomes one of the `errors`,
each with an exit code of its own.

Dependencies run one way: scripts, entry, cli, console, steps and runner, tree/layout/storage, local, fastcopy
and errors.
Two promises hold everywhere: a target appears whole or not at all, and memory does not grow with the data.
"""
