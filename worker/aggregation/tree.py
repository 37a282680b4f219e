"""The arithmetic of a tree: which files form a group, how many files a level holds. No I/O.

Files of a level are numbered from 0. Group n of a level with fan-in K is its files K*n ... K*n+K-1, and makes
file n of the next level.
"""


def group_count(files: int, fan_in: int) -> int:
    """How many groups, and so files of the next level, `files` files make: the last group may be short."""
    return -(-files // fan_in)


def group(number: int, fan_in: int, files: int | None = None) -> range:
    """The numbers of the files in group `number`.

    With `files`, the size of the level, the last group ends with the level. Without it every group is full:
    a short group is computed, never guessed from a file's absence.

    Raises:
        ValueError: the level has no such group.
    """
    first = number * fan_in
    if files is None:
        return range(first, first + fan_in)
    if first >= files:
        raise ValueError(f"a level of {files} files has groups 0 to {group_count(files, fan_in) - 1} only")
    return range(first, min(first + fan_in, files))


def depth(files: int, fan_in: int, width: int) -> int:
    """How many reductions lead to at most `width` files."""
    levels = 0
    while files > width:
        files, levels = group_count(files, fan_in), levels + 1
    return levels


def width(files: int, fan_in: int, level: int) -> int:
    """How many files a level holds, however high it is, where level 1 holds `files`."""
    for _ in range(1, level):
        above = group_count(files, fan_in)
        if above == files:  # and so are all above
            break
        files = above
    return files


def widths(files: int, fan_in: int, levels: int) -> list[int]:
    """How many files each level holds: level 1 first, then one entry for each of the `levels` reductions."""
    counts = [files]
    for _ in range(levels):
        counts.append(group_count(counts[-1], fan_in))
    return counts
