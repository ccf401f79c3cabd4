"""One request as the wires see it, and the operations that a wire declares."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.datastructures import Headers, QueryParams

from ops.simulator.accounts import SimulatedAccount
from ops.simulator.bill import BillLine
from ops.simulator.faults import StagedFault
from ops.simulator.replies import SimulatedReply
from ops.simulator.sale import Sale


@dataclass(slots=True)
class Exchange:
    """A request that was read to its end, and what was found out about it so far.

    ``prompt`` is the prompt sent, or that of the picture downloaded; ``marks`` those in it, plus what a fault
    wants of the wire; ``subject`` identifies the same request sent again; ``sale`` is what its delivered reply costs.
    """

    id: int
    base_url: str
    method: str
    path: str
    path_params: Mapping[str, str]
    query: QueryParams
    headers: Headers
    body: bytes
    body_sha256: str
    time: float
    route: str = ""
    prompt: str = ""
    subject: str = ""
    marks: frozenset[str] = frozenset()
    account: SimulatedAccount | None = None
    fault: StagedFault | None = None
    line: BillLine | None = None
    sale: Sale | None = None

    @property
    def submission_id(self) -> str | None:
        """The id of what this request has bought so far, on the bill or about to be on it."""
        if self.line is not None:
            return self.line.submission_id
        return self.sale.charge.submission_id if self.sale is not None else None

    def hides(self, prompt: str | None = None) -> bool:
        """Tell whether the fault denies that what is asked for exists; with ``prompt``, that what has it does."""
        fault = self.fault
        return fault is not None and fault.kind == "gone_404" and (prompt is None or fault.about in prompt)

    def links(self, asked: int) -> int:
        """Return how many links the answer is to hold where ``asked`` were asked for."""
        fault = self.fault
        return max(asked, fault.count) if fault is not None and fault.kind == "many_links" else asked

    def require_account(self) -> SimulatedAccount:
        """Return the account that admission has found. Raises ``RuntimeError`` on a public operation."""
        if self.account is None:
            raise RuntimeError(f"{self.path} is public and has no account")
        return self.account


Handler = Callable[[Exchange], Awaitable[SimulatedReply]]


@dataclass(frozen=True, slots=True)
class Success:
    """How an answer says that something was bought: its status, and where it names the purchase.

    ``ids`` are the ways to the id in its JSON, ``header`` is the header that has it.
    """

    status: int = 200
    ids: tuple[tuple[str | int, ...], ...] = ()
    header: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method and path of a wire.

    ``route`` is the name that faults and the log use. ``pays``: an accepted request makes a line of the bill, and is
    answered as ``success`` says. ``public``: no key is needed, and sending one is a leak worth recording.
    """

    method: str
    path: str
    route: str
    handler: Handler
    pays: bool = False
    public: bool = False
    success: Success = Success()


class SimulatedWire(Protocol):
    """One provider's HTTP interface. To add one: write it in ``wires/``, list it in ``wires/__init__.py``."""

    name: str

    def operations(self) -> Sequence[Operation]:
        """Return everything that this wire answers, most specific path first."""
        ...

    def credential(self, headers: Headers) -> str | None:
        """Return the API key that the request carries."""
        ...

    def route_of(self, operation: Operation, exchange: Exchange) -> str:
        """Return the route's name for this request, usually that of the operation."""
        ...

    def picture_of(self, exchange: Exchange) -> str | None:
        """Return the id of the picture that is delivered or asked for; several ids in a query are not its matter."""
        ...

    def admit(self, exchange: Exchange) -> None:
        """Raise ``RefusalError`` for an unknown or closed account, or one whose window is full."""
        ...

    def refusal(self, status: int, exchange: Exchange, code: str | None = None) -> SimulatedReply:
        """Return this provider's error of that status; 0 is the one that goes with ``code``."""
        ...

    def id_of(self, line: BillLine) -> str:
        """Return the id by which this provider's answer names the purchase of a line."""
        ...

    def decorate(self, exchange: Exchange, reply: SimulatedReply) -> None:
        """Add the headers that this provider puts on every answer to a key."""
        ...

    def dump(self) -> dict[str, Any]:
        """Return the wire's own state as JSON."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``dump`` returned."""
        ...

    def reset(self) -> None:
        """Forget everything."""
        ...
