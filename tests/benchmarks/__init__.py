"""What the worker costs beside its rivals: `python tests/benchmarks [CASE...]`, or `make bench`.

A family (`volumes`, `startup`, `stores`) makes its data, yields one Case after the other, and cleans up. A
Case declares commands that reach the same end by different ways, and what the worker promises about them; the
`runner` runs them in turns, through `launcher.py`, and `report` and `plots` show what came of it.

All ratios are taken within one run, round by round: absolute times hold on no shared machine, and a ratio of
two neighbours survives a load that comes and goes.
"""
