"""Which files of a source are taken. Pure: decided from their names and sizes alone, before any is read.

What is taken is on a list of names: whatever else a source holds, or claims to hold, is never asked for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from service.captioners import WEIGHTS, files_of, is_captioner
from service.families import other_family, unsupported
from service.importing.problems import UNSUITABLE, ImportFailed, Problem, unsuitable
from service.layout import (
    CONFIG_FILES,
    LICENSES,
    MODEL_INDEX,
    PICKLES,
    WEIGHT_FILES,
    components_of,
    config_files,
    lacks_tokenizer,
    tokenizer_files,
    tokenizers_of,
)

VARIANTS = ("", "fp16")
_HALF = "fp16"

_SAFETENSORS = ".safetensors"
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors")


@dataclass(frozen=True)
class Selection:
    """What is taken of a source."""

    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The source's names by their place in the layout; several where weights are kept in several files."""
    checkpoint: str = ""
    """The source's name of a single-file checkpoint; empty for a source in the diffusers layout."""
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names that are taken."""
        taken = [name for names in self.files.values() for name in names]
        return tuple(dict.fromkeys([*taken, *([self.checkpoint] if self.checkpoint else [])]))


def select(names: Collection[str], variant: str = "", *, needs_vae: bool = True) -> Selection:
    """Of a folder in the diffusers layout, of a captioner's, or of one with a single-file checkpoint in it.

    `needs_vae` is false where another VAE is put in the place of its own. Raises ImportFailed with everything that is missing.
    """
    pickles = sorted(name for name in names if name.lower().endswith(PICKLES))
    if not _is_layout(names):
        if is_captioner(names):
            return _captioner(names, variant, pickles, needs_vae=needs_vae)
        return _checkpoint(names, pickles)
    files, notes, problems = _of_layout(names, variant, pickles, needs_vae)
    other = other_family(frozenset(name.partition("/")[0] for name in names if "/" in name), None)
    if problems or other:
        raise unsuitable([*([unsupported(other)] if other else []), *problems])
    top = [name for name in names if "/" not in name and name.endswith(_SAFETENSORS)]
    if top:
        notes.append(
            f"Single-file checkpoints beside the diffusers layout were left out, such as {min(top)}; "
            "name one in the address to import it."
        )
    return Selection(files, "", (*notes, *_left_out(pickles)))


def select_file(name: str) -> Selection:
    """Of a source that is one file. Raises ImportFailed unless it is safetensors."""
    if name.lower().endswith(PICKLES):
        raise unsuitable([f"{name} is a pickle, which is never loaded; import the same weights as safetensors."])
    if not name.endswith(_SAFETENSORS):
        raise unsuitable([f"{name} is no safetensors file; name one, or a folder in the diffusers layout."])
    return Selection(checkpoint=name)


def select_vae(names: Collection[str]) -> Selection:
    """Of a folder with a VAE: `config.json` and weights in it, or in its folder `vae`; or one single file."""
    for folder in ("", "vae/"):
        weights, _ = _weights("vae", {name.removeprefix(folder) for name in names if name.startswith(folder)}, "", "")
        if weights and f"{folder}config.json" in names:
            return Selection(
                {
                    CONFIG_FILES["vae"]: (f"{folder}config.json",),
                    WEIGHT_FILES["vae"]: tuple(folder + name for name in weights),
                }
            )
    single = sorted(name for name in names if "/" not in name and name.endswith(_SAFETENSORS))
    if len(single) == 1:
        return Selection(checkpoint=single[0])
    raise ImportFailed(
        [
            Problem(
                UNSUITABLE,
                f"The VAE's address holds {', '.join(single) or 'no safetensors file'}; name a folder with config.json and "
                "diffusion_pytorch_model.safetensors, one with vae in it, or one file.",
            )
        ]
    )


def _is_layout(names: Collection[str]) -> bool:
    folders = {name.partition("/")[0] for name in names if "/" in name}
    return MODEL_INDEX in names or bool(folders & {"unet", "transformer"})


def _of_layout(
    names: Collection[str], variant: str, pickles: Sequence[str], needs_vae: bool
) -> tuple[dict[str, tuple[str, ...]], list[str], list[str]]:
    """Files by their place, notes and problems."""
    notes: list[str] = []
    # The configuration of its own VAE is taken all the same: what is one single file has none.
    required = [name for name in (MODEL_INDEX, *config_files(names)) if needs_vae or name != CONFIG_FILES["vae"]]
    problems = [
        f"{name} is missing; a base model in the diffusers layout has it." for name in required if name not in names
    ]
    problems += filter(None, (lacks_tokenizer(tokenizer, names) for tokenizer in tokenizers_of(names)))
    optional = [
        *LICENSES,
        CONFIG_FILES["vae"],
        *(name for tokenizer in tokenizers_of(names) for name in tokenizer_files(tokenizer)),
    ]
    files: dict[str, tuple[str, ...]] = {name: (name,) for name in (*required, *optional) if name in names}
    for component in components_of(names):
        if component == "vae" and not needs_vae:
            continue
        # A VAE is small, and what it loses in half precision is lost in every picture.
        wanted = variant if component != "vae" else ""
        weights, note = _weights(component, names, f"{component}/", wanted)
        if weights:
            files[WEIGHT_FILES[component]] = weights
            notes += [note] if note else []
        else:
            problems.append(_no_weights(component, names, pickles))
    return files, notes, problems


def _weights(component: str, names: Collection[str], folder: str, variant: str) -> tuple[tuple[str, ...], str]:
    """The files of a component's weights below `folder`, and a note; none if there are none."""
    stem = folder + WEIGHT_FILES[component].partition("/")[2].removesuffix(_SAFETENSORS)
    kinds = [_HALF, ""] if variant == _HALF else ["", _HALF]
    for kind in kinds:
        base = f"{stem}.{kind}" if kind else stem
        found = (base + _SAFETENSORS,) if base + _SAFETENSORS in names else _shards(base, names)
        if found:
            note = f"{found[0]} was taken, for {stem}{_SAFETENSORS} is not there." if kind and not variant else ""
            return found, note
    return (), ""


def _shards(base: str, names: Collection[str]) -> tuple[str, ...]:
    """The parts of weights that are kept in several files, if all are there."""
    parts = sorted(name for name in names if name.startswith(base) and _SHARD.fullmatch(name, len(base)))
    if not parts:
        return ()
    total = int(_SHARD.fullmatch(parts[0], len(base))[2])  # type: ignore[index]
    wanted = tuple(f"{base}-{number:05d}-of-{total:05d}{_SAFETENSORS}" for number in range(1, total + 1))
    return wanted if set(wanted) <= set(names) else ()


def _no_weights(component: str, names: Collection[str], pickles: Sequence[str]) -> str:
    own = [name for name in pickles if name.startswith(f"{component}/")]
    if own:
        return (
            f"{component} has its weights as a pickle alone ({own[0]}), which is never loaded; "
            f"save them as {WEIGHT_FILES[component]}."
        )
    others = sorted(name for name in names if name.startswith(f"{component}/") and name.endswith(_SAFETENSORS))
    found = f", but {others[0]}" if others else ""
    return f"{WEIGHT_FILES[component]} is missing{found}; a base model in the diffusers layout has it."


def _captioner(names: Collection[str], variant: str, pickles: Sequence[str], *, needs_vae: bool) -> Selection:
    if not needs_vae:
        raise unsuitable(["This is a model that captions pictures, which has no VAE; leave vae_source_uri out."])
    stem = WEIGHTS.removesuffix(_SAFETENSORS)
    for kind in (f"{stem}.{_HALF}", stem) if variant == _HALF else (stem,):
        weights = (kind + _SAFETENSORS,) if kind + _SAFETENSORS in names else _shards(kind, names)
        if weights:
            files = {name: (name,) for name in files_of(names)}
            return Selection({**files, WEIGHTS: weights}, "", tuple(_left_out(pickles)))
    found = f" ({pickles[0]} is a pickle, which is never loaded)" if pickles else ""
    raise unsuitable([f"{WEIGHTS} is missing{found}; a captioner as transformers saves it has it."])


def _checkpoint(names: Collection[str], pickles: Sequence[str]) -> Selection:
    single = sorted(name for name in names if "/" not in name and name.endswith(_SAFETENSORS))
    if len(single) == 1:
        return Selection(checkpoint=single[0], notes=tuple(_left_out(pickles)))
    if single:
        shown = ", ".join(single[:5]) + (", …" if len(single) > 5 else "")
        raise unsuitable([f"There are {len(single)} single-file checkpoints ({shown}); name one in the address."])
    if pickles:
        raise unsuitable(
            [
                f"{name} is a pickle, which is never loaded; import the same weights as safetensors."
                for name in pickles[:20]
            ]
        )
    raise unsuitable(
        [f"There is neither {MODEL_INDEX} nor a single-file checkpoint in safetensors; name the folder, or the file."]
    )


def _left_out(pickles: Sequence[str]) -> list[str]:
    if not pickles:
        return []
    count = f"{len(pickles)} pickles were" if len(pickles) > 1 else "A pickle was"
    return [f"{count} left out, for pickles are never loaded: {', '.join(pickles[:3])}{', …' * (len(pickles) > 3)}."]
