"""Joins numbered files, level by level, into one result, on a volume or an object store.

A target appears whole or not at all, and memory does not grow with the data. Where to go for a change:

- command_line: an option of the scripts, a line that they print, signals and the way to an exit code
- here: the steps (`steps`, `levels`), a whole run (`runner`, `crew`, `journal`, `cleaning`, `report`,
  `terminal`), the names (`layout`, `wildcards`), the arithmetic (`tree`, `cost`), and every error with its
  exit code (`errors`); `advice` is what an error says where level 1 has other names
- inputs: the list of a run's inputs under the names that they have: finding, checking, gaps and their account
- commands: how the user's own merge command is started, watched and stopped
- stores: what each store promises, and which store a root asks for
- stores/volume: directories and mounts: the kernel's copies, temporaries, what a mount gets wrong
- stores/oss: OSS: joins by the service, the requests, the retry table, credentials
- stores/fsspec_store: every other URL that fsspec knows

Imports run down only: command_line, runner, inputs, steps, commands, stores, names and errors. `make lint`
checks it.
"""

VERSION = "0.2.0"
"""Of the scripts and the image; CHANGELOG.md says what each brought."""
