"""The account of a run's gaps beside its result, so that a result with gaps never looks like one without."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aggregation.errors import (
    AggregationError,
    ConfigurationError,
    MissingInputError,
    WrongUsageError,
    printable,
)
from aggregation.layout import account_beside
from aggregation.stores.promise import Storage

from . import input_list
from .gaps import parse_account
from .input_list import InputList


@contextmanager
def kept(storage: Storage, path: str, inputs: InputList, output: str) -> Iterator[None]:
    """Put the account of the list at `path` beside `output`, which the block makes of these inputs.

    It comes before the result, and what was there comes back if the block fails: at no time does a result
    with gaps stand without it. Where nothing is missing, an earlier one goes once the result is there.

    Raises:
        MissingInputError: the list has gaps, and no account of them.
        ConfigurationError: another file has the account's name.
        WrongUsageError: the result would replace the list.
    """
    if storage.path(path) == storage.path(output):
        raise WrongUsageError(
            f"joining the inputs of {printable(storage.path(path))}",
            "the result would replace their list",
            "name another --output",
        )
    name = account_beside(output)
    before = _read(storage, name)
    is_ours = before is not None and parse_account(before) is not None
    if not inputs.missing:
        yield
        if is_ours:
            storage.remove([name])
        return
    account = _account(storage, path, inputs)
    if before is not None and not is_ours:
        why = f"{printable(storage.path(name))} exists and is no account of missing inputs"
        raise ConfigurationError("writing the account of what is missing", why, "move it away")
    if account != before:
        storage.write(name, account)
    try:
        yield
    except BaseException:
        if account != before:
            with suppress(AggregationError):  # it says too much then, of the result that was there before
                storage.remove([name]) if before is None else storage.write(name, before)
        raise


def _account(storage: Storage, path: str, inputs: InputList) -> bytes:
    name = input_list.account_of(path)
    data = _read(storage, name)
    account = parse_account(data) if data is not None else None
    if data is None or account is None or account.digest != inputs.digest():
        why = "it is not there" if data is None else "it is not of this list"
        raise MissingInputError(
            f"reading what is missing, {printable(storage.path(name))}",
            f"{printable(storage.path(path))} lacks {inputs.missing} inputs, and {why}",
            "make both again by inputs.py",
        )
    return data


def missing_beside(storage: Storage, output: str) -> int:
    """How many inputs a result lacks, by the account beside it."""
    data = _read(storage, account_beside(output))
    account = parse_account(data) if data is not None else None
    return account.missing if account else 0


def _read(storage: Storage, name: str) -> bytes | None:
    try:
        return storage.read(name, None)
    except MissingInputError:
        return None
