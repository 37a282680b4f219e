"""The part of the expr language that the manifests use, evaluated as Argo Workflows does, only more strictly.

Where Argo turns a mistake into nil, 0 or an empty string, this raises: what passes here has one meaning in
each version. `/` gives a float always, as in expr; sprig's arithmetic is Go's and cuts towards zero.

    conditional  or/||  and/&&  comparison, in, contains  + -  * / %  not/! -  member, index, call
"""

import json
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

Value = object
Scope = Mapping[str, Value]
_Node = Callable[[Scope], Value]


class JsonObject(dict[str, Value]):
    """An object of a JSON document: what it does not hold is nil, as in Go. Names of ours must be known."""


class ExpressionError(Exception):
    """The expression is outside the subset, or has no meaning for these values."""


def evaluate(text: str, scope: Scope) -> Value:
    """The value of an expression.

    Raises:
        ExpressionError: it cannot be parsed, names something that is not in `scope`, or mixes types.
    """
    return _Parser(text).parse()(scope)


def uses_division(text: str) -> bool:
    """Whether an expression divides by `/`: the result is a float, and where it is not whole a loop fails."""
    return any(token.kind == "operator" and token.text == "/" for token in _tokens(text))


def render(value: Value) -> str:
    """A value as it stands in a manifest in place of its tag.

    Raises:
        ExpressionError: versions of Argo disagree about it.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if abs(value) >= 1e6:
            raise ExpressionError(f"{value} is a float, and v3.5 renders it as {value:.0e}")
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, int | str):
        return str(value)
    raise ExpressionError(f"{value!r} has no portable rendering")


class _Token(NamedTuple):
    kind: str
    text: str


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[0-9]+(?:\.[0-9]+)?)
      | (?P<string>"[^"\\]*"|'[^'\\]*')
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<operator>\|\||&&|\?\?|\?\.|==|!=|<=|>=|[-+*/%<>!?:()\[\],.])
    )""",
    re.VERBOSE,
)
_WORDS = {"or": "||", "and": "&&", "not": "!", "in": "in", "contains": "contains"}


def _tokens(text: str) -> list[_Token]:
    tokens, position, text = [], 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise ExpressionError(f"{text[position:]!r} in {text!r} is outside the subset")
        token = _Token(match.lastgroup, match[match.lastgroup])
        tokens.append(_Token("operator", _WORDS[token.text]) if token.text in _WORDS else token)
        position = match.end()
    return [*tokens, _Token("end", "")]


_STRENGTH = {"||": 10, "&&": 15, "==": 20, "!=": 20, "<": 20, "<=": 20, ">": 20, ">=": 20, "in": 20} | {
    "contains": 20,
    "+": 30,
    "-": 30,
    "*": 60,
    "/": 60,
    "%": 60,
    "??": 500,
}
_NOT, _MINUS = 50, 90


class _Parser:
    """Precedence climbing; a production returns a function of the scope, so that `&&` and `?:` are lazy."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._rest = _tokens(text)

    def parse(self) -> _Node:
        node = self._conditional()
        if self._rest[0].kind != "end":
            raise ExpressionError(f"{self._rest[0].text!r} is one too many in {self._text!r}")
        return node

    def _take(self, *operators: str) -> str | None:
        if self._rest[0].kind == "operator" and self._rest[0].text in operators:
            return self._rest.pop(0).text
        return None

    def _need(self, operator: str) -> None:
        if self._take(operator) is None:
            raise ExpressionError(f"{operator!r} is missing before {self._rest[0].text!r} in {self._text!r}")

    def _conditional(self) -> _Node:
        test = self._binary(0)
        if self._take("?") is None:
            return test
        yes = self._conditional()
        self._need(":")
        no = self._conditional()
        return lambda scope: yes(scope) if _boolean(test(scope)) else no(scope)

    def _binary(self, least: int) -> _Node:
        left = self._unary()
        while self._rest[0].kind == "operator" and _STRENGTH.get(self._rest[0].text, -1) >= least:
            operator = self._rest.pop(0).text
            left = _combine(operator, left, self._binary(_STRENGTH[operator] + 1))
        return left

    def _unary(self) -> _Node:
        if self._take("!"):
            denied = self._binary(_NOT)
            return lambda scope: not _boolean(denied(scope))
        if self._take("-"):
            negated = self._binary(_MINUS)
            return lambda scope: -_number(negated(scope))
        return self._postfix()

    def _postfix(self) -> _Node:
        node = self._primary()
        while operator := self._take(".", "?.", "[", "("):
            if operator in (".", "?."):
                token = self._rest.pop(0)
                if token.kind != "name":
                    raise ExpressionError(f"a name is missing after {operator!r} in {self._text!r}")
                member = _Member if operator == "." else _member_if_any
                node = member(node, lambda _, name=token.text: name)  # type: ignore[misc]
            elif operator == "[" and self._take(":"):
                node = _first(node, self._conditional())
                self._need("]")
            elif operator == "[":
                node = _Member(node, self._conditional())
                self._need("]")
            else:
                node = _call(node, self._list(")"))
        return node

    def _list(self, end: str) -> list[_Node]:
        nodes: list[_Node] = []
        while not self._take(end):
            if nodes:
                self._need(",")
            nodes.append(self._conditional())
        return nodes

    def _primary(self) -> _Node:
        token = self._rest.pop(0)
        if token.kind == "number":
            number: Value = float(token.text) if "." in token.text else int(token.text)
            return lambda _: number
        if token.kind == "string":
            return lambda _: token.text[1:-1]
        if token.kind == "name":
            return _name(token.text)
        if token == _Token("operator", "("):
            node = self._conditional()
            self._need(")")
            return node
        if token == _Token("operator", "["):
            nodes = self._list("]")
            return lambda scope: [node(scope) for node in nodes]
        raise ExpressionError(f"{token.text or 'the end'!r} is out of place in {self._text!r}")


def _name(name: str) -> _Node:
    if name in ("true", "false"):
        return lambda _: name == "true"
    if name == "nil":
        return lambda _: None

    def look_up(scope: Scope) -> Value:
        if name in _FUNCTIONS:
            return _FUNCTIONS[name]
        if name not in scope:
            raise ExpressionError(f"{name!r} is not known here")
        return scope[name]

    return look_up


@dataclass(frozen=True)
class _Member:
    """What an object has under a name."""

    owner: _Node
    key: _Node

    def __call__(self, scope: Scope) -> Value:
        members, name = self.owner(scope), self.key(scope)
        if isinstance(members, JsonObject):
            return members.get(str(name))
        if not isinstance(members, Mapping) or name not in members:
            raise ExpressionError(f"there is no {name!r} in {members!r}")
        return members[name]


def _member_if_any(owner: _Node, key: _Node) -> _Node:
    """`?.`: nil where there is no such member, or no owner."""

    def look_up(scope: Scope) -> Value:
        members = _if_any(owner, scope)
        return members.get(str(key(scope))) if isinstance(members, Mapping) else None

    return look_up


def _first(items: _Node, count: _Node) -> _Node:
    """`[:n]`, of a list that may be shorter."""

    def cut(scope: Scope) -> Value:
        if not isinstance(values := items(scope), list):
            raise ExpressionError(f"{values!r} is no list")
        return values[: _integer(count(scope))]

    return cut


def _if_any(node: _Node, scope: Scope) -> Value:
    """The value before `?.` or `??`: nil for a member that there is not; a variable has to be there."""
    if isinstance(node, _Member) and isinstance(members := node.owner(scope), Mapping):
        return members.get(str(node.key(scope)))
    return node(scope)


def _call(function: _Node, arguments: list[_Node]) -> _Node:
    def call(scope: Scope) -> Value:
        target = function(scope)
        if not callable(target):
            raise ExpressionError(f"{target!r} is no function")
        values = [argument(scope) for argument in arguments]
        try:
            return target(*values)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise ExpressionError(f"a call with {values!r} fails: {error}") from error

    return call


def _combine(operator: str, left: _Node, right: _Node) -> _Node:
    if operator == "||":
        return lambda scope: _boolean(left(scope)) or _boolean(right(scope))
    if operator == "&&":
        return lambda scope: _boolean(left(scope)) and _boolean(right(scope))
    if operator == "??":
        return lambda scope: right(scope) if (value := _if_any(left, scope)) is None else value
    function = _OPERATORS[operator]
    return lambda scope: function(left(scope), right(scope))


def _boolean(value: Value) -> bool:
    if not isinstance(value, bool):
        raise ExpressionError(f"{value!r} is neither true nor false")
    return value


def _number(value: Value) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"{value!r} is no number")
    return value


def _integer(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ExpressionError(f"{value!r} is no whole number")
    return value


def _string(value: Value) -> str:
    if not isinstance(value, str):
        raise ExpressionError(f"{value!r} is no string")
    return value


def _same(left: Value, right: Value) -> bool:
    if left is None or right is None:
        return left is right
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if type(left) is not type(right) and (not numbers or isinstance(left, bool) or isinstance(right, bool)):
        raise ExpressionError(f"{left!r} and {right!r} have different types and are never equal")
    return left == right


def _plus(left: Value, right: Value) -> Value:
    return (
        left + right if isinstance(left, str) and isinstance(right, str) else _number(left) + _number(right)
    )


def _divide(left: Value, right: Value) -> float:
    if not _number(right):
        raise ExpressionError("a division by zero")
    return _number(left) / _number(right)


def _modulo(left: Value, right: Value) -> int:
    dividend, divisor = _integer(left), _integer(right)
    return dividend - divisor * _sprig_div(dividend, divisor)


def _is_in(value: Value, values: Value) -> bool:
    if not isinstance(values, list):
        raise ExpressionError(f"{values!r} is no list")
    return any([_same(value, each) for each in values])  # noqa: C419 - each member's type is checked


_OPERATORS: dict[str, Callable[[Value, Value], Value]] = {
    "==": _same,
    "!=": lambda left, right: not _same(left, right),
    "<": lambda left, right: _number(left) < _number(right),
    "<=": lambda left, right: _number(left) <= _number(right),
    ">": lambda left, right: _number(left) > _number(right),
    ">=": lambda left, right: _number(left) >= _number(right),
    "in": _is_in,
    "contains": lambda left, right: _string(right) in _string(left),
    "+": _plus,
    "-": lambda left, right: _number(left) - _number(right),
    "*": lambda left, right: _number(left) * _number(right),
    "/": _divide,
    "%": _modulo,
}


def _as_int(value: Value) -> int:
    if isinstance(value, str) and not re.fullmatch(r"[-+]?[0-9]+", value, re.ASCII):
        raise ExpressionError(f"{value!r} is no whole number")
    return int(value) if isinstance(value, str) else int(_number(value))


def _as_float(value: Value) -> float:
    return float(value) if isinstance(value, str) else float(_number(value))


def _to_string(value: Value) -> str:
    return value if isinstance(value, str) else str(_integer(value))


def _length(value: Value) -> int:
    if not isinstance(value, list | str | dict):
        raise ExpressionError(f"{value!r} has no length")
    return len(value)


def _sprig_div(dividend: Value, divisor: Value) -> int:
    left, right = _integer(dividend), _integer(divisor)
    if not right:
        raise ExpressionError("a division by zero")
    return abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)


def _escaped(text: str) -> str:
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _sprig_mul(first: Value, *others: Value) -> int:
    product = _integer(first)
    for other in others:
        product *= _integer(other)
    return product


_GO_DATES = {"2006-01-02": "%Y-%m-%d", "2006-01-02T15:04:05Z07:00": "%Y-%m-%dT%H:%M:%S%z"}
"""The layouts that are understood, the second for times, and what Python calls them."""


def _sprig_to_date(layout: Value, text: Value) -> datetime:
    return datetime.strptime(_string(text), _GO_DATES[_string(layout)])  # noqa: DTZ007 - a time has %z


def _sprig_date_in_zone(layout: Value, date: Value, zone: Value) -> str:
    if not isinstance(date, datetime):
        raise ExpressionError(f"{date!r} is no date")
    return date.astimezone(ZoneInfo(_string(zone))).strftime(_GO_DATES[_string(layout)])


def _from_json(text: Value) -> Value:
    """Go reads each number of a JSON document as a float."""
    return json.loads(_string(text), parse_int=float, object_hook=JsonObject)


_SPRIG: dict[str, Callable[..., Value]] = {
    "add": lambda *values: sum(_integer(value) for value in values),
    "sub": lambda left, right: _integer(left) - _integer(right),
    "mul": _sprig_mul,
    "div": _sprig_div,
    "max": lambda *values: max(_integer(value) for value in values),
    "min": lambda *values: min(_integer(value) for value in values),
    "clean": lambda path: posixpath.normpath(_string(path)),
    "dateInZone": _sprig_date_in_zone,
    "fromJson": _from_json,
    "toDate": _sprig_to_date,
    "replace": lambda old, new, text: _string(text).replace(_string(old), _string(new)),
    # Go writes these three as escapes.
    "toJson": lambda value: _escaped(json.dumps(_string(value), ensure_ascii=False)),
}
_FUNCTIONS: dict[str, Value] = {
    "asInt": _as_int,
    "asFloat": _as_float,
    "fromJSON": _from_json,
    "toJSON": lambda value: json.dumps(value, indent=2),
    "string": _to_string,
    "len": _length,
    "sprig": _SPRIG,
}
