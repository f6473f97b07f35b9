"""Batches on disk: what was sent to a provider's batch endpoint, written before each step that cannot be undone.

One JSON file per batch in `llm_cache/batches/`. Its `status` goes

    planned -> creating -> sent -> ended

`creating` is written (with the id of the uploaded file) before the provider is asked to make the batch, so a process
killed before it learned the batch's id leaves a record by which the batch is found again in the provider's list.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gip_exp.llm.errors import LLMError
from gip_exp.llm.settings import EndpointSettings
from gip_exp.storage.files import write_json

PLANNED, CREATING, SENT, ENDED = "planned", "creating", "sent", "ended"
FOLDER = "batches"  # below the reply cache


@dataclass
class BatchRecord:
    """One batch.

    Attributes:
        name: 16 hex digits, also in the provider's metadata of the batch.
        endpoint: provider, address and model that it was sent to.
        keys: cache keys of its requests, also their `custom_id`.
        most_usd: cost that was reserved for it; 0 without a price.
        status: planned, creating, sent or ended.
        file_id: the provider's id of the uploaded requests.
        batch_id: the provider's id of the batch.
        created: seconds since the epoch.
        asked: when the provider was asked to make it, seconds since the epoch.
        ending: how it ended: completed, expired, cancelled, failed, or lost if the provider never made it.
        reason: why it failed as a whole.
        errors: reason by key for requests that the provider answered with an error.
    """

    name: str
    endpoint: str
    keys: list[str]
    most_usd: float = 0.0
    status: str = PLANNED
    file_id: str = ""
    batch_id: str = ""
    created: float = 0.0
    asked: float = 0.0
    ending: str = ""
    reason: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether its replies are still to come."""
        return self.status != ENDED


class BatchRecords:
    """The records of one endpoint in a reply cache.

    Args:
        cache_dir: folder of the reply cache.
        settings: the endpoint; batches of other endpoints and models are left alone.
    """

    def __init__(self, cache_dir: Path, settings: EndpointSettings) -> None:
        self.folder = Path(cache_dir) / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self.endpoint = f"{settings.provider} {settings.base_url or 'default'} {settings.model}"

    @property
    def lock(self) -> Path:
        """The lock file to hold while batches are sent or collected."""
        return self.folder / "lock"

    def all(self) -> list[BatchRecord]:
        """Return the records of this endpoint, oldest first. Raises LLMError for a damaged one."""
        records = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                record = BatchRecord(**json.loads(path.read_text()))
            except (ValueError, TypeError) as error:
                raise LLMError(
                    f"the record {path} of a batch is damaged ({error}). If its batch is still wanted, restore the file; "
                    "otherwise delete it: its requests are then sent and paid for again."
                ) from error
            if record.endpoint == self.endpoint:
                records.append(record)
        return sorted(records, key=lambda record: (record.created, record.name))

    def new(self, keys: Sequence[str], most_usd: float) -> BatchRecord:
        """Return a new record, on disk."""
        record = BatchRecord(
            secrets.token_hex(8), self.endpoint, list(keys), round(most_usd, 6), created=time.time()
        )
        self.save(record)
        return record

    def save(self, record: BatchRecord) -> None:
        """Write a record atomically."""
        write_json(self.folder / f"{record.name}.json", asdict(record))
