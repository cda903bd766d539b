"""The names of all protocols: three that always exist, five folds, and one a collection for `external`."""

from collections.abc import Iterable

from pipeline.errors import GateError
from pipeline.labels import PROTOCOLS as BASE_PROTOCOLS

FOLDS = 5
FOLD = "fold:"
EXTERNAL = "external:"


def list_protocols(collections: Iterable[str]) -> tuple[str, ...]:
    """Every protocol there can be with these collections, in the order that people read them."""
    folds = (f"{FOLD}{number}" for number in range(1, FOLDS + 1))
    return (*BASE_PROTOCOLS, *folds, *(f"{EXTERNAL}{name}" for name in sorted(collections)))


def is_known(protocol: str, collections: Iterable[str]) -> bool:
    """Whether there is such a protocol; an external one needs a collection of that name."""
    return protocol in list_protocols(collections)


def fold_of(protocol: str) -> int | None:
    """The fold that a `fold:<k>` tests on, 1 to 5; None under every other protocol."""
    number = protocol.removeprefix(FOLD)
    known = {str(one): one for one in range(1, FOLDS + 1)}
    return known.get(number) if protocol.startswith(FOLD) else None


def collection_of(protocol: str) -> str | None:
    """The collection that an `external:<collection>` tests on; None under every other protocol."""
    return protocol.removeprefix(EXTERNAL) or None if protocol.startswith(EXTERNAL) else None


def is_guarded(protocol: str) -> bool:
    """Whether a failed check of the gate stops training: everywhere but where leaks are what is measured."""
    return protocol == "patient" or protocol.startswith((FOLD, EXTERNAL))


def protocol_path(protocol: str) -> str:
    """The protocol as part of a file name, without a colon: patient, fold/1, external/<collection>.

    Raises:
        GateError: no protocol can have this name.
    """
    collection = collection_of(protocol)
    known = protocol in BASE_PROTOCOLS or fold_of(protocol) or (collection and "/" not in collection)
    if not known:
        raise GateError(
            f"there is no protocol {protocol!r}; there are {', '.join(BASE_PROTOCOLS)}, {FOLD}1 to "
            f"{FOLD}{FOLDS}, and {EXTERNAL}<collection> with a collection of the catalog"
        )
    return protocol.replace(":", "/", 1)


def split_table(protocol: str) -> str:
    """The lake's name of the protocol's table `splits`, as `splits/fold/1`.

    Raises:
        GateError: no protocol can have this name.
    """
    return f"splits/{protocol_path(protocol)}"
