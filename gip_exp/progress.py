"""How far a piece of work is: what a bar on a terminal shows, and a line a minute where there is none."""

from collections.abc import Callable

Note = str | Callable[[], str]  # a function is only called when the note is shown


class Bar:
    """Steps done of all, with a note (`loss 0.53`). `advance` and `update` are cheap enough to call at every step."""

    def __init__(self, title: str, total: float | None, clock: Callable[[], float]) -> None:
        self.title, self.total, self.done = title, total, 0.0
        self._note: Note = ""
        self._clock, self._started = clock, clock()
        self._since, self._kept, self._begun = self._started, 0.0, False  # what the speed is counted from

    def update(self, done: float, total: float | None = None, note: Note = "") -> None:
        """Set how far the work is."""
        if not self._begun:  # an earlier process may have come this far
            self._since, self._kept, self._begun = self._clock(), done, True
        self.done, self._note = done, note
        if total is not None:
            self.total = total

    def advance(self, steps: float = 1, kept: bool = False) -> None:
        """Some steps more; `kept` says that an earlier process did them, so that they tell nothing of the speed."""
        self.done, self._begun = self.done + steps, True
        self._kept += steps * kept

    @property
    def note(self) -> str:
        """The latest figures, e.g. the loss."""
        return self._note if isinstance(self._note, str) else self._note()

    def line(self) -> str:
        """`fine-tuning: 120 of 400, loss 0.532, about 4 min left`; without steps, for how long it has been at work."""
        if self.total is None:
            return f"{self.title}: at work for {duration(self._clock() - self._started)}"
        speed = self._speed()
        parts = [f"{self.done:,.0f} of {self.total:,.0f}", self.note or _rate(speed)]
        if speed > 0:
            parts.append(f"about {duration((self.total - self.done) / speed)} left")
        return f"{self.title}: {', '.join(filter(None, parts))}"

    def _speed(self) -> float:
        """Steps a second; 0 where that is not known yet."""
        seconds = self._clock() - self._since
        return (self.done - self._kept) / seconds if seconds > 0 else 0.0


def _rate(speed: float) -> str:
    if speed <= 0:
        return ""
    return f"{speed:.1f}/s" if speed >= 1 else f"{duration(1 / speed)} each"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
