"""Every adapter type that this trainer knows, and the kind of tensors that it trains. A new type is a file and a line here."""

from __future__ import annotations

from trainer.adapters.kinds import KINDS
from trainer.adapters.mathematics import Kind
from trainer.config import AdapterTypeName

TYPES: dict[AdapterTypeName, Kind] = {
    "lora": KINDS["lora"],
    "locon": KINDS["lora"],
    "loha": KINDS["hada"],
    "lokr": KINDS["lokr"],
    "dylora": KINDS["lora"],
}
