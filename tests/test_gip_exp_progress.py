"""How far a stage is: one console draws every bar, and says a line a minute where there is no terminal."""

import io
import threading

import pytest
from rich.console import Console as RichConsole

from gip_exp.console import Console
from gip_exp.progress import Bar, duration


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_line_has_steps_note_and_the_time_left(clock):
    bar = Bar("fine-tuning", 400, clock)
    bar.update(0)
    clock.now += 60
    bar.update(100, note="loss 0.532")
    assert bar.line() == "fine-tuning: 100 of 400, loss 0.532, about 3 min left"


def test_without_a_note_the_line_has_the_rate(clock):
    bar = Bar("embedding", 52_002, clock)
    clock.now += 10
    bar.advance(1024)
    assert bar.line() == "embedding: 1,024 of 52,002, 102.4/s, about 8 min left"
    slow = Bar("gradients", 8, clock)
    clock.now += 240
    slow.advance(2)
    assert slow.line() == "gradients: 2 of 8, 2 min each, about 12 min left"


def test_before_the_first_step_no_time_is_guessed(clock):
    assert Bar("embedding", 10, clock).line() == "embedding: 0 of 10"


@pytest.mark.parametrize("resume", ["update", "advance"])
def test_steps_of_an_earlier_process_do_not_count_as_speed(clock, resume):
    bar = Bar("fine-tuning", 400, clock)
    bar.update(300) if resume == "update" else bar.advance(300, kept=True)
    clock.now += 60
    bar.advance(10)
    assert bar.line() == "fine-tuning: 310 of 400, 6 s each, about 9 min left"


def test_work_without_steps_says_for_how_long_it_has_been_at_it(clock):
    bar = Bar("evaluate/gsm8k", None, clock)
    clock.now += 185
    assert bar.line() == "evaluate/gsm8k: running for 3 min"


def test_durations():
    assert [duration(s) for s in (0, 59.4, 60, 3540, 3600, 11_100)] == [
        *("0 s", "59 s", "1 min", "59 min", "1 h 0 min", "3 h 5 min")
    ]


def test_without_a_terminal_the_innermost_work_is_told(clock, tmp_path):
    said = io.StringIO()
    console = Console(said, clock=clock)
    with console.logging_to(tmp_path / "log.txt"), console.spinner("train"):
        clock.now += 60
        console.report_progress()
        with console.bar("fine-tuning", 4) as bar:
            bar.update(1, note="loss 2.000")
            clock.now += 60
            bar.update(2, note="loss 1.000")
            console.report_progress()
        console.report_progress()
    console.report_progress()  # nothing is at work any more
    lines = ["  train: running for 1 min", "  fine-tuning: 2 of 4, loss 1.000, about 2 min left",
             "  train: running for 2 min"]  # fmt: skip
    assert said.getvalue().splitlines() == lines
    assert [line[20:] for line in (tmp_path / "log.txt").read_text().splitlines()] == lines


def test_lines_come_by_themselves_while_a_step_takes_long():
    class Heard(io.StringIO):
        twice = threading.Event()

        def write(self, text):
            if super().write(text) and self.getvalue().count("running for") >= 2:
                self.twice.set()

    said = Heard()
    with Console(said, every_s=0.001).spinner("embed"):
        assert said.twice.wait(10)
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_on_a_terminal_bars_of_one_console_stand_below_each_other():
    """Two displays would write over each other's line; one draws both, and takes them away at the end."""
    screen = io.StringIO()
    console = Console()
    console.rich = RichConsole(file=screen, force_terminal=True, width=100)
    with console.spinner("score"), console.bar("judging with gpt", 10) as bar:
        bar.update(4, note=lambda: "3.0 replies/s")
        console.say("a note in between")
        console.rich._live_stack[0].refresh()
        drawn = screen.getvalue()
    assert all(
        text in drawn for text in ("score", "judging with gpt", "4/10", "3.0 replies/s", "a note in between")
    )
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_the_note_of_a_bar_is_only_made_when_it_is_shown(clock):
    asked = []
    bar = Bar("judging", 10, clock)
    for done in range(10):
        bar.update(done, note=lambda: asked.append(1) or "fine")
    assert asked == []
    assert "fine" in bar.line()
