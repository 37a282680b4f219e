"""Lines of the worker that are broken on purpose, one by one: a test must fail for each (`make mutants`)."""
