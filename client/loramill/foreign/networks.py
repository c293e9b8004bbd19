"""kohya's network modules and their `network_args`, those of LyCORIS among them, as adapters of ours. Pure.

Names as in `networks/lora.py`, `networks/dylora.py` and LyCORIS's `lycoris/kohya.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loramill.foreign.values import truth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loramill.foreign.draft import Draft

_ALGORITHMS = {"lora": "locon", "locon": "locon", "loha": "loha", "lokr": "lokr", "dylora": "dylora"}
"""LyCORIS's LoRA adapts convolutions too, unless a preset leaves them out."""
_PRESETS = {
    "full": "all",
    "full-lin": "transformer",
    "attn-mlp": "attention_mlp",
    "attn-only": "attention",
    "unet-transformer-only": "transformer",
    "unet-convblock-only": "all",
}
_FIELDS = {
    "rank_dropout": "adapter.rank_dropout",
    "module_dropout": "adapter.module_dropout",
    "dropout": "adapter.dropout",
    "loraplus_lr_ratio": "adapter.lora_plus_ratio",
    "loraplus_unet_lr_ratio": "adapter.lora_plus_ratio",
}
_FLAGS = {
    "rs_lora": "adapter.rank_stabilized",
    "use_tucker": "adapter.tucker",
    "use_cp": "adapter.tucker",
    "use_conv_cp": "adapter.tucker",
    "decompose_both": "adapter.lokr.decompose_both",
    "full_matrix": "adapter.lokr.full_matrix",
}
_NEAREST = {
    "dora_wd": "DoRA is not trained",
    "weight_decompose": "DoRA is not trained",
    "use_scalar": "there is no further scalar",
    "train_norm": "norms are not adapted",
    "rank_dropout_scale": "components that stay are always scaled up",
    "block_dims": "nearest are adapter.rules with a rank",
    "block_alphas": "nearest are adapter.rules with an alpha",
    "conv_block_dims": "nearest are adapter.rules with a rank",
    "conv_block_alphas": "nearest are adapter.rules with an alpha",
    "down_lr_weight": "nearest are adapter.rules with a learning_rate",
    "mid_lr_weight": "nearest are adapter.rules with a learning_rate",
    "up_lr_weight": "nearest are adapter.rules with a learning_rate",
    "block_lr_zero_threshold": "nearest are adapter.rules with train: false",
    "loraplus_text_encoder_lr_ratio": "adapter.lora_plus_ratio holds for both networks",
    "constraint": "belongs to OFT, which is not trained",
    "rescaled": "belongs to OFT, which is not trained",
    "unbalanced_factorization": "the factors are taken apart in one way",
    "bypass_mode": "how a layer is computed changes nothing",
}
ARGUMENTS = {
    "algo": "`adapter.type`: lora and locon are LOCON (LORA where the preset leaves out convolutions), loha, lokr, dylora",
    "preset": f"`adapter.targets`: {', '.join(f'{name} is {target}' for name, target in _PRESETS.items())}",
    "conv_dim": "`adapter.conv_rank`; LyCORIS takes network_dim where it is missing",
    "conv_alpha": "`adapter.conv_alpha`; LyCORIS takes network_alpha where it is missing, networks.lora 1",
    "factor": "`adapter.lokr.factor`",
    "unit": "`adapter.dylora.unit`, of networks.dylora",
    "block_size": "`adapter.dylora.unit`, of LyCORIS",
    **{name: f"`{path}`" for name, path in (_FIELDS | _FLAGS).items()},
    **{name: f"**not supported**: {says}" for name, says in _NEAREST.items()},
}
"""What each argument becomes, for people."""
_READ = {"algo", "preset", "conv_dim", "conv_alpha", "factor", "unit", "block_size", *_FIELDS, *_FLAGS}


def set_network_args(draft: Draft, arguments: Mapping[str, str]) -> None:
    """Type, layers, ranks and alphas from the module, its dimensions and its arguments."""
    module = str(draft.get("network_module"))
    chosen = _type(draft, module, arguments)
    if chosen is None:
        return
    targets = _targets(draft, module, chosen, arguments)
    if chosen == "locon" and targets != "all":
        chosen = "lora"
    draft.set("adapter.type", chosen, "network_module")
    draft.set("adapter.targets", targets, "network_module" if "preset" not in arguments else "network_args")
    _size(draft, module, chosen, targets, arguments)
    for name, path in _FIELDS.items():
        if arguments.get(name) not in (None, "", "0", "None"):
            draft.set(path, arguments[name], "network_args", name)
    for name, path in _FLAGS.items():
        if name in arguments and not (chosen != "lokr" and ".lokr." in path):
            draft.set(path, truth(arguments[name]), "network_args", name)
    lost = [f"{name} ({_NEAREST.get(name, 'is not known here')})" for name in arguments if name not in _READ]
    lost = [text for text in lost if not text.startswith("bypass_mode")]
    if lost:
        draft.told("network_args", "unsupported", f"{'; '.join(lost)}.")


def _type(draft: Draft, module: str, arguments: Mapping[str, str]) -> str | None:
    if module.startswith("lycoris") or module == "networks.lycoris":
        algorithm = arguments.get("algo", "lora").lower()
        if algorithm not in _ALGORITHMS:
            draft.told(
                "network_args", "unsupported", f"algo={algorithm} is not trained; nearest is adapter.type: locon."
            )
        return _ALGORITHMS.get(algorithm)
    if module == "networks.dylora":
        return "dylora"
    if module in ("networks.lora", "networks.lora_fa"):
        if module.endswith("_fa"):
            draft.told("network_module", "unsupported", "LoRA-FA freezes `down`, which is not done; a LoRA is trained.")
        return "locon" if arguments.get("conv_dim") else "lora"
    draft.told("network_module", "unsupported", f"is {module}; nearest is adapter.type: lora.")
    return None


def _targets(draft: Draft, module: str, chosen: str, arguments: Mapping[str, str]) -> str:
    if not module.startswith("lycoris"):
        return "all" if chosen == "locon" or arguments.get("conv_dim") else "transformer"
    preset = arguments.get("preset", "full")
    if preset not in _PRESETS:
        draft.told("network_args", "unsupported", f"preset={preset} is not known; adapter.targets: all is taken.")
    return _PRESETS.get(preset, "all")


def _size(draft: Draft, module: str, chosen: str, targets: str, arguments: Mapping[str, str]) -> None:
    """Ranks and alphas. A LoKr that is larger than its matrices is one of full matrices, which has neither."""
    rank, alpha = int(float(draft.get("network_dim"))), float(draft.get("network_alpha"))
    full = truth(arguments.get("full_matrix", "False"))
    if chosen == "lokr":
        draft.set("adapter.lokr.factor", arguments.get("factor", -1), "network_args")
    if chosen == "lokr" and (full or rank > 1024):
        draft.set("adapter.lokr.full_matrix", True, "network_dim", "so large a rank means full matrices")
        draft.told("network_alpha", "off", "full matrices have no alpha there either")
        return
    draft.set("adapter.rank", rank, "network_dim")
    draft.set("adapter.alpha", alpha or float(rank), "network_alpha")
    if chosen == "lokr":
        draft.spec.adapter.lokr.full_matrix = False
    if targets == "all":
        of_lycoris = module.startswith("lycoris")
        conv_rank = arguments.get("conv_dim", rank if of_lycoris else None)
        conv_alpha = arguments.get("conv_alpha", alpha if of_lycoris else 1)
        if conv_rank:
            draft.set("adapter.conv_rank", conv_rank, "network_args")
            draft.set("adapter.conv_alpha", float(conv_alpha) or float(conv_rank), "network_args")
    if chosen == "dylora":
        unit = arguments.get("unit") or arguments.get("block_size") or (1 if module == "networks.dylora" else 4)
        draft.set("adapter.dylora.unit", unit, "network_args")
