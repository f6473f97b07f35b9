"""Pack the runs behind a published table: what the report reads, and no texts of the data.

    python -m tests.evidence.pack outputs/runs/gsm8k_smollm2 tests/evidence/gsm8k_smollm2.tar.xz

Of each run folder: `result.json`, `config.yaml`, the outcome of every question (references as digests, replies left out)
and the ids of the selected rows. `python -m gip_exp.report FOLDER` on the unpacked archive makes the tables again. Two runs
give the same archive.
"""

import io
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path


def main(runs: Path, archive: Path) -> None:
    """Write the archive, members in the order of their names."""
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for name, data in sorted(_members(runs)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def _members(runs: Path) -> Iterator[tuple[str, bytes]]:
    for result in sorted(runs.glob("*/result.json")):
        folder = result.parent
        yield f"{folder.name}/result.json", result.read_bytes()
        config = re.sub(r"(?m)^  root: .*$", "  root: outputs", (folder / "config.yaml").read_text())
        yield f"{folder.name}/config.yaml", config.encode()
        rows = [{"id": row["id"]} for row in _rows(folder / "selected.jsonl")]
        yield f"{folder.name}/selected.jsonl", _lines(rows)
        for path in sorted(folder.glob("predictions/**/*.jsonl")):
            outcomes = [
                {**row, "output": "", "reference": sha256(row["reference"].encode()).hexdigest()[:16]}
                for row in _rows(path)
            ]
            yield f"{folder.name}/{path.relative_to(folder)}", _lines(outcomes)


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
