"""When a job gives up: no further call can succeed, the provider asks for too long a wait, or nothing answers.

An endpoint that answers nothing may be down, or the requests left may be those that it cannot answer. The job stops if others
wait behind them, or if it has never answered; otherwise each of them ends by its own attempts and is counted as failed.
"""

from __future__ import annotations

import time

from gip_exp.llm.errors import LLMError
from gip_exp.llm.request import Fault
from gip_exp.llm.settings import EndpointSettings

_DENIED = 5  # different requests answered by 403 in a row: the account, not the texts
_KEPT = "Replies received so far are kept."


class Patience:
    """The faults since the last reply to any request of a client."""

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings
        self._in_vain = 0  # requests completed since the last reply
        self._denied: set[str] = set()  # keys answered by 403 since the last reply
        self._last_reply = time.monotonic()
        self._answered = False  # ever, for this client
        self._more = True  # requests to come

    def answered_before(self) -> None:
        """Take note of a reply in the cache."""
        self._answered = True

    def no_more(self) -> None:
        """Take note that no further request will come."""
        self._more = False

    def renewed(self) -> None:
        """Count from here: a reply came."""
        self._in_vain, self._last_reply = 0, time.monotonic()
        self._denied.clear()
        self._answered = True

    def tried(self) -> None:
        """Count a request that got no reply and may be sent again."""
        self._in_vain += 1

    def asked_too_much(self, fault: Fault) -> bool:
        """Return whether the provider asks to come back later than the job may wait."""
        return fault.held_back and (fault.retry_after_s or 0) > self.settings.max_retry_after_s

    def check(self, fault: Fault, key: str) -> None:
        """Raise LLMError if no further call can succeed.

        Args:
            fault: the outcome of a request.
            key: its cache key.
        """
        model = self.settings.model
        if fault.fatal:
            raise LLMError(f"{model}: {fault}. {_KEPT}")
        if fault.kind == "http 403":
            self._denied.add(key)
            if len(self._denied) >= _DENIED:
                raise LLMError(f"{model}: {fault}; {len(self._denied)} requests in a row. {_KEPT}")
        if self.asked_too_much(fault):
            raise LLMError(
                f"{model}: the provider's limit is reached, and it asks to come back in "
                f"{fault.retry_after_s / 3600:.1f} h ({fault}). {_KEPT} Start again then."  # type: ignore[operator]
            )
        if self._answered and not self._more:
            return
        silent_s = time.monotonic() - self._last_reply
        few, many = self.settings.attempts, self.settings.attempts * self.settings.concurrency
        if self._in_vain >= many or (self._in_vain > few and silent_s > few * self.settings.timeout_s):
            raise LLMError(
                f"{model}: no reply to the last {self._in_vain} requests (the last: {fault}). Check that "
                f"{' or '.join(self.settings.addresses) or 'the endpoint'} is running, then start again. {_KEPT}"
            )

    def check_held_back(self, fault: Fault, since: float) -> None:
        """Raise LLMError if the provider's limit has let nothing through for `max_held_back_s`.

        Args:
            fault: the newest refusal.
            since: when the request was first refused.
        """
        waited = time.monotonic() - max(since, self._last_reply)
        if waited > self.settings.max_held_back_s:
            raise LLMError(
                f"{self.settings.model}: the provider's limit has let no request through for {waited / 60:.0f} min "
                f"({fault}). {_KEPT} Start again later, or ask the provider for a higher limit."
            )
