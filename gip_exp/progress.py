"""Progress of a piece of work, shown as a bar on a terminal or as a line of text elsewhere."""

from collections.abc import Callable

Note = str | Callable[[], str]  # a function is called only when the note is shown


class Bar:
    """Completed and total steps, with a note (`loss 0.53`). Cheap enough to update at every step."""

    def __init__(self, title: str, total: float | None, clock: Callable[[], float]) -> None:
        self.title, self.total, self.done = title, total, 0.0
        self._note: Note = ""
        self._clock, self._started = clock, clock()
        self._since, self._kept, self._begun = self._started, 0.0, False  # reference point of the speed

    def update(self, done: float, total: float | None = None, note: Note = "") -> None:
        """Set the number of completed steps."""
        if not self._begun:  # earlier steps may be from a previous process
            self._since, self._kept, self._begun = self._clock(), done, True
        self.done, self._note = done, note
        if total is not None:
            self.total = total

    def advance(self, steps: float = 1, kept: bool = False) -> None:
        """Add completed steps; `kept` ones are from a previous process and do not count towards the speed."""
        self.done, self._begun = self.done + steps, True
        self._kept += steps * kept

    @property
    def note(self) -> str:
        """The current note, e.g. the loss."""
        return self._note if isinstance(self._note, str) else self._note()

    def line(self) -> str:
        """Return the progress as text: `fine-tuning: 120 of 400, loss 0.532, about 4 min left`."""
        if self.total is None:
            return f"{self.title}: running for {duration(self._clock() - self._started)}"
        speed = self._speed()
        parts = [f"{self.done:,.0f} of {self.total:,.0f}", self.note or _rate(speed)]
        if speed > 0:
            parts.append(f"about {duration((self.total - self.done) / speed)} left")
        return f"{self.title}: {', '.join(filter(None, parts))}"

    def _speed(self) -> float:
        """Return steps per second; 0 if not known yet."""
        seconds = self._clock() - self._since
        return (self.done - self._kept) / seconds if seconds > 0 else 0.0


def _rate(speed: float) -> str:
    if speed <= 0:
        return ""
    return f"{speed:.1f}/s" if speed >= 1 else f"{duration(1 / speed)} each"


def duration(seconds: float) -> str:
    """Format a duration: `40 s`, `12 min`, `3 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
