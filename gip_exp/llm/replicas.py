"""Several addresses that serve the same model: each request goes to the least busy one that answers.

An address whose connection fails, or that answers 500, 502, 503 or 504, is left for a while; the request goes to another
one at once, which is no attempt. After the pause, one request tries it again. Replies, keys and the pace do not depend on
the addresses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gip_exp.llm.request import Fault, Reply, Request
from gip_exp.llm.settings import EndpointSettings
from gip_exp.llm.transport import Transport

_GONE = ("connection", "http 500", "http 502", "http 503", "http 504")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


@dataclass
class _Replica:
    """One address, and how it fares.

    Attributes:
        transport: sends to it.
        busy: requests in flight.
        failures: since its last reply.
        opens: when it may be tried again.
        told: whether its failure was noted.
    """

    transport: Transport
    busy: int = 0
    failures: int = 0
    opens: float = 0.0
    told: bool = False

    def ready(self, now: float) -> bool:
        """Return whether it answers as far as is known, or may be tried by one request."""
        return self.failures == 0 or (now >= self.opens and self.busy == 0)


class Replicas:
    """Sends like a `Transport`, to any number of addresses.

    Args:
        settings: the endpoint with all addresses.
        note: told once about each address that fails, and about what an address does not accept.
        clock: returns seconds.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        note: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        settings.check()
        self._note, self._clock = note, clock
        each = [replace(settings, base_url=url, more_urls=()) for url in settings.addresses or (None,)]
        self._replicas = [_Replica(Transport(one, note)) for one in each]

    async def close(self) -> None:
        """Close the connections."""
        for replica in self._replicas:
            await replica.transport.close()

    async def send(
        self,
        request: Request,
        adapted: Callable[[Fault], None] = lambda _: None,
        moved: Callable[[Fault], None] = lambda _: None,
    ) -> Reply | Fault:
        """Send `request` and return the outcome.

        Args:
            request: what to ask.
            adapted: told of each refusal after which the request is sent in another form.
            moved: told of each fault after which the request is sent to another address.
        """
        left = list(self._replicas)
        while True:
            replica = self._choose(left)
            left.remove(replica)
            replica.busy += 1
            try:
                outcome = await replica.transport.send(request, adapted)
            finally:
                replica.busy -= 1
            self._judge(replica, outcome)
            if not left or not isinstance(outcome, Fault) or outcome.kind not in _GONE:
                return outcome
            moved(outcome)

    def _choose(self, among: Sequence[_Replica]) -> _Replica:
        now = self._clock()
        ready = [replica for replica in among if replica.ready(now)]
        if ready:
            return min(ready, key=lambda replica: replica.busy)
        return min(among, key=lambda replica: replica.opens)

    def _judge(self, replica: _Replica, outcome: Reply | Fault) -> None:
        """Take note of an outcome; a time-out counts against an address, but its request is an attempt."""
        if isinstance(outcome, Reply):
            replica.failures = 0
        elif outcome.kind in _GONE or outcome.kind == "timeout":
            replica.failures += 1
            pause = min(_FIRST_PAUSE_S * 2 ** min(replica.failures - 1, 20), _LONGEST_PAUSE_S)
            replica.opens = self._clock() + pause
            if not replica.told and len(self._replicas) > 1:
                replica.told = True
                self._note(
                    f"{replica.transport.settings.base_url} failed ({outcome}): its requests went to the other addresses"
                )
