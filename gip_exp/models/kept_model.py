"""A model that stays loaded in this process between the evaluations of an adapter.

It is released when another model is requested or another user reserves the device (`gip_exp.device`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gip_exp import device
from gip_exp.models import loading

_loaded: list[Any] = []  # none or one


@contextmanager
def loaded(place: str, adapter: str | None, dtype: str, where: str) -> Iterator[Any]:
    """Load the model of the folder `place` on the device `where`, in evaluation mode, with the LoRA adapter if any.

    Raises UserError if the adapter does not fit the model.
    """
    if adapter is not None:
        loading.check_adapter(place, adapter)
    with device.reserved_for(f"{place} with adapter {adapter} in {dtype} on {where}", _loaded.clear):
        if not _loaded:
            _loaded.append(_load(place, adapter, dtype).to(where).eval())
        yield _loaded[0]


def _load(place: str, adapter: str | None, dtype: str) -> Any:
    model = loading.load_base(place, dtype)
    loading.reset_sampling(model)
    if adapter is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter)
