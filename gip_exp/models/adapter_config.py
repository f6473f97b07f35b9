"""The description of a LoRA adapter: `adapter_config.json` and the model card in its folder."""

import json
from pathlib import Path

from gip_exp.storage.files import write_json, write_text

ADAPTER_CONFIG, CARD = "adapter_config.json", "README.md"


def name_base(adapter: Path, base: str, revision: str | None, *, to: Path | None = None) -> None:
    """Write the description of an adapter with this base model, over the present one or into its copy in the folder `to`.

    PEFT and vLLM load the weights onto the model they are given; the name tells people and `AutoPeftModel` which.
    """
    folder, described = to or adapter, json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    card, before = folder / CARD, described["base_model_name_or_path"]
    if card.is_file() and before:
        write_text(card, card.read_text(encoding="utf-8").replace(before, base))
    described |= {"base_model_name_or_path": base, "revision": revision}
    write_json(folder / ADAPTER_CONFIG, described)
