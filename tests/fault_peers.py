"""Others that share the store or are asked for something: sweeps side by side, a hub and a judge that do not answer."""

import http.server
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fault_kills import Bench, Row
from fault_runs import CONCURRENCY, Ended, Sweep, entries, judged, remains, trace
from fault_server import FaultServer, wait_until

WITHIN = 15.0  # seconds for a message about a hub, on a busy machine
REFUSALS = 8


def shared(bench: Bench, sweep: Sweep) -> list[Row]:
    """Two sweeps on one store, then three of which one is killed again and again: every shared output is made once."""
    rows = []
    _, expected, price = bench.undisturbed(sweep)
    for many, kills in ((2, 0), (3, 4)):
        root, before, problems, killed = bench.root(), bench.bought(), [], 0
        processes = [sweep.start(root) for _ in range(many)]
        watched: dict[str, tuple[int, int]] = {}
        for _ in range(kills):
            time.sleep(bench.chance.uniform(2, 12))
            processes[0].kill()
            killed += processes[0].wait().status == -9
            now = entries(root)
            problems += [f"{name} was made again" for name in watched if now.get(name) != watched[name]]
            watched = now
            processes[0] = sweep.start(root)
        ends = [process.wait() for process in processes]
        problems += [f"exit status {ended.status}: {ended.error}" for ended in ends if ended.status]
        said = "".join(ended.said for ended in ends)
        made = len(re.findall(r"(?m)^  [\w/]+: [\d.]+ s$", said))
        if not kills and made != len(entries(root)):
            problems.append(f"{made} outputs made by {many} sweeps, {len(entries(root))} in the store")
        if difference := trace(root).difference(expected):
            problems.append(difference)
        if left := remains(root):
            problems.append(f"left behind: {', '.join(left[:3])} ({len(left)})")
        twice = bench.bought() - before - price
        if not 0 <= twice <= CONCURRENCY * killed:
            problems.append(f"{twice} replies bought twice")
        waits = said.count("waiting for it")
        shown = f"{len(entries(root))} outputs, each made once; {twice} replies bought twice; {waits} waits"
        what = f"{many} sweeps on one store" + (f", one of them killed {killed} times" if kills else "")
        rows.append(Row(what, many + kills, shown, tuple(problems)))
    return rows


class _Failing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def broken_servers() -> Iterator[dict[str, str]]:
    """Addresses: one where nobody listens, one that accepts and stays silent, one that answers 500."""
    with socket.socket() as closed, socket.socket() as silent:
        closed.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        failing = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Failing)
        threading.Thread(target=failing.serve_forever, daemon=True).start()
        ports = {"closed": closed, "silent": silent, "500": failing.socket}
        try:
            yield {name: f"http://127.0.0.1:{one.getsockname()[1]}" for name, one in ports.items()}
        finally:
            failing.shutdown()
            failing.server_close()


def hub_down(bench: Bench, _: Sweep) -> list[Row]:
    """A data set, a judge's model and an encoder from a hub that is down: one message, at once, and nothing left."""
    problems, slowest = [], 0.0
    arguments = ("+experiment=gsm8k_cpu", "embedder=sentence_transformer")
    with broken_servers() as addresses:
        for kind, address in addresses.items():
            root = bench.root()
            online = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(root.parent / "hub")}
            ended = Sweep(arguments, online).run(root, timeout_s=120)
            slowest = max(slowest, ended.seconds)
            told = ended.clean and address in ended.said and "data.path=FILE_OR_FOLDER" in ended.said
            if not told or "embedder.model=DIR" not in ended.said or ended.seconds > WITHIN:
                problems.append(
                    f"{kind}: exit status {ended.status} after {ended.seconds:.0f} s: {ended.said[-600:]}"
                )
            if root.exists():
                problems.append(f"{kind}: left {[str(path) for path in root.rglob('*')][:5]}")
    shown = f"refused, silent, 500: a message with the local way within {slowest:.0f} s (start included), nothing left"
    return [Row("a hub that is down", 3, shown, tuple(problems))]


def judge_down(bench: Bench, sweep: Sweep) -> list[Row]:
    """A judge that is down from the start, or goes down midway, in every way: bounded, replies kept, then gone on with."""
    problems, slowest, kept = [], 0.0, 0
    _, expected, price = bench.undisturbed(sweep)
    impatient = "judge.timeout_s=1"
    for kind in ("closed", "hang", "500", "503"):
        for midway in (False, True):
            root = bench.root()
            with FaultServer(delay_s=0.05) as server:
                arguments = judged(server.url, impatient, "untuned=false", multirun=False).arguments
                spoil = _spoiler(server, kind)
                if not midway:
                    spoil()
                with Sweep(arguments).start(root) as process:
                    if midway:
                        process.until(r"^  score \.\.\.")
                        while server.account()["requests"] < price // 2:
                            time.sleep(0.01)
                        bought = sum(server.account()["valid"].values())
                        spoil()
                    ended = process.wait(180)
            slowest = max(slowest, ended.seconds)
            when = f"{kind}, {'midway' if midway else 'from the start'}"
            # An address where nobody listens is refused before anything is begun: nothing to keep then.
            word = "kept" if midway or kind != "closed" else "no server answers there"
            if not ended.clean or word not in ended.said:
                problems.append(
                    f"{when}: exit status {ended.status} after {ended.seconds:.0f} s: {ended.said[-600:]}"
                )
            before = bench.bought()
            again = judged(bench.server.url, "untuned=false", multirun=False).run(root)
            missing = bench.bought() - before
            if again.status or trace(root).difference(expected):
                problems.append(f"{when}: then {again.error}, {trace(root).difference(expected)}")
            if midway:
                kept += bought
                if not 0 < missing <= price - bought + CONCURRENCY:
                    problems.append(f"{when}: {bought} bought before, {missing} after, {price} altogether")
            shutil.rmtree(root.parent, ignore_errors=True)
    ways = "refused, hanging, 500, 503, each from the start and midway"
    shown = f"{ways}: a message within {slowest:.0f} s, {kept} replies kept"
    return [Row("a judge that is down", 8, shown, tuple(problems))]


def throttled(bench: Bench, sweep: Sweep) -> list[Row]:
    """A judge that refuses everything for a while (429), from the start or midway: the run waits and then goes on."""
    problems, refused = [], 0
    _, expected, price = bench.undisturbed(sweep)
    for first in (0, price // 2):
        root = bench.root()
        ended, refusals, bought = _throttled_after(first, root)
        refused += refusals
        difference = trace(root).difference(expected)
        if ended.status or difference:
            problems.append(f"exit status {ended.status}: {ended.error if ended.status else difference}")
        if abs(bought - price) > CONCURRENCY:  # in flight when the server changed its ways
            problems.append(f"{bought} replies bought, {price} in an undisturbed run")
    shown = f"{refused} refusals without a time to come back at, waited for: the same result"
    return [Row("a judge that throttles for a while", 2, shown, tuple(problems))]


def _throttled_after(first: int, root: Path) -> tuple[Ended, int, int]:
    """A run whose judge refuses for a while after `first` requests: (its end, refusals, replies bought)."""
    bought = 0
    with FaultServer(delay_s=0.05) as server:
        with judged(server.url, "untuned=false", multirun=False).start(root) as process:
            if first:
                wait_until(lambda: server.account()["requests"] >= first, 120)
                bought = sum(server.account()["valid"].values())
            server.restart(status=429, message="slow down")
            wait_until(lambda: server.account()["requests"] >= REFUSALS, 120)
            refusals = server.account()["requests"]
            server.restart(delay_s=0.05)
            ended = process.wait(180)
        return ended, refusals, bought + sum(server.account()["valid"].values())


def _spoiler(server: FaultServer, kind: str) -> Callable[[], object]:
    if kind == "closed":
        return lambda: server.__exit__()
    if kind == "hang":
        return lambda: server.restart(fault_share=1.0, kinds=("hang",), hang_s=60.0)
    return lambda: server.restart(status=int(kind), message="out of order")
