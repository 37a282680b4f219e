"""The tables that are made from the code, as the Chinese pages have them: the same cells in Chinese."""

import re

WORDS = {
    # what the README's figures compare
    "What": "场景",
    "Here": "本项目",
    "Beside": "对照",
    "Measured": "实测",
    "Two objects on OSS": "OSS 上的两个对象",
    "A tree of small files": "小文件的多层归并",
    "Two files on a disk": "磁盘上的两个文件",
    "fan-in #": "扇入 #",
    "to the disk": "写入磁盘",
    "GET and PUT": "GET 加 PUT",
    "one process a merge": "每次合并一个进程",
    "# times faster": "速度为对照的 # 倍",
    "# times the time": "耗时为对照的 # 倍",
    # what joins cost on OSS
    "Command": "命令",
    "Objects": "对象",
    "Requests": "请求数",
    "Of which": "其中",
    "# of # byte": "# 个 # 字节的对象",
    "# large ones": "# 个大对象",
    "# of # KiB": "# 个 # KiB 的对象",
    "# of # MB": "# 个 # MB 的对象",
}
"""The words of the tables, `#` for a number. What stands neither here nor in `AS_IT_IS` is an error."""
AS_IT_IS = re.compile(r"-*|`[^`]*`|oss2|cat|sync|\d+|[\d,]+ (x [\d,]+ )?(KiB|MiB|GiB|ms|MB/s)|\d+ [A-Z]\w+")
"""Cells, and pieces of cells, that are the same in each language: code, programs, sizes, requests."""
MARKS = {": ": "\uff1a", ", ": "\u3001"}
"""The colon, and the comma of a list."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def table(text: str) -> str:
    """A table in Chinese, from the English one.

    Raises:
        KeyError: it holds words that are not in `WORDS`.
    """
    return "\n".join("|".join(_cell(cell) for cell in line.split("|")) for line in text.splitlines())


def _cell(cell: str) -> str:
    pieces = re.split(r"(: |, )", cell.strip())
    said = "".join(MARKS[piece] if piece in MARKS else _piece(piece) for piece in pieces)
    return cell.replace(cell.strip(), said) if cell.strip() else cell


def _piece(piece: str) -> str:
    if AS_IT_IS.fullmatch(piece):
        return piece
    numbers = iter(_NUMBER.findall(piece))
    return re.sub("#", lambda _: next(numbers), WORDS[_NUMBER.sub("#", piece)])
