"""One model that stays loaded in this process, for the next evaluation of the same adapter.

It is let go when another model is asked for, or somebody else needs the device (`gip_exp.device`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gip_exp import device
from gip_exp.models import loading

_loaded: list[Any] = []  # none or one


@contextmanager
def loaded(place: str, adapter: str | None, dtype: str, where: str) -> Iterator[Any]:
    """The model in evaluation mode on the device `where`, with the LoRA adapter if any.

    Raises UserError when the adapter does not fit the model in the folder `place`.
    """
    if adapter is not None:
        loading.check_adapter(place, adapter)
    with device.reserved_for(f"{place} with adapter {adapter} in {dtype} on {where}", _loaded.clear):
        if not _loaded:
            _loaded.append(_load(place, adapter, dtype).to(where).eval())
        yield _loaded[0]


def _load(place: str, adapter: str | None, dtype: str) -> Any:
    model = loading.load_base(place, dtype)
    if adapter is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter)
