"""The pages for people, README.md and docs/ among them: read, checked and partly written by the tests.

- markdown: a page's headings, blocks of code, links, tables
- shell_lines: the commands of a block, and what is wrong with each
- options: what the scripts take, as they say it themselves
- figures: the tables of what was measured
- tables: the tables that are generated from the code, and the marks between which they stand
- scale: what joins of many files ask for, computed
- picture: the drawings
- translation: the Chinese pages beside the English ones; chinese: the words of the tables there
- `python tests/support/pages` (`make docs`) writes tables and drawings anew
"""
