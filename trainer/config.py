"""Everything about a job that shapes its adapter, as frozen plain data. Nothing behind it knows protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from trainer.data.rules import PictureRules, SubsetRules

AdapterTypeName = Literal["lora", "locon", "loha", "lokr", "dylora"]
Targets = Literal["attention", "attention_mlp", "transformer", "all"]
ScheduleName = Literal["constant", "linear", "cosine"]
PrecisionName = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class LayerRule:
    """What some layers have else than the others. None: as the others."""

    pattern: str
    """With the wildcards * ? [], over a layer's full name, such as `unet.up_blocks.1.attentions.0.proj_in`."""
    train: bool
    rank: int | None
    alpha: float | None
    learning_rate: float | None


@dataclass(frozen=True, kw_only=True)
class LokrConfig:
    """How LoKr cuts a weight into two factors."""

    factor: int
    """Sides of the small factor; -1 for the nearest to square."""
    full_matrix: bool
    decompose_both: bool


@dataclass(frozen=True, kw_only=True)
class DyloraConfig:
    """Which ranks DyLoRA trains, and where a step's gradient goes."""

    unit: int
    """Ranks are trained at its multiples."""
    mode: Literal["frozen", "joint"]


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """The adapter's type and size; its strength is alpha / rank.

    Where `initial` is set, its file decides layers and sizes, and the fields for them have no meaning.
    """

    type: AdapterTypeName
    initial: str
    """`adapters/<id>` to go on from; empty for a new adapter."""
    rank: int
    alpha: float
    conv_rank: int
    conv_alpha: float
    targets: Targets
    dropout: float
    rank_dropout: float
    module_dropout: float
    rules: tuple[LayerRule, ...]
    """The first that matches a layer counts."""
    tucker: bool
    rank_stabilized: bool
    lora_plus_ratio: float
    lokr: LokrConfig
    dylora: DyloraConfig


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """One network: whether it is trained, and its learning rate at the peak of the schedule."""

    train: bool
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """Prior preservation: on these captions the adapter must predict what the base predicts."""

    captions: tuple[str, ...]
    weight: float
    ratio: float
    """Prior examples per training example."""
    images: int


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """How the weights are fitted. Exactly one of `steps` and `epochs` is set."""

    steps: int | None
    epochs: int | None
    batch_size: int
    gradient_accumulation: int
    weight_decay: float
    beta1: float
    beta2: float
    schedule: ScheduleName
    warmup_steps: int | None
    """None: a twentieth of the steps, at most 100."""
    max_gradient_norm: float
    """0: no clipping."""
    precision: PrecisionName | None
    """None: fp32 on a CPU, bf16 on a GPU."""
    seed: int
    min_snr_gamma: float
    """0: no weighting."""


@dataclass(frozen=True, kw_only=True)
class PreviewPrompt:
    """What to draw, with `[tag]` already replaced."""

    prompt: str
    negative_prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class PreviewConfig:
    """Pictures made while training."""

    prompts: tuple[PreviewPrompt, ...]
    every_steps: int
    """0: before and after training only."""
    inference_steps: int
    guidance_scale: float


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything about a job that shapes its adapter, and what is made beside it."""

    job: str
    """The job's id."""
    title: str
    launch: int
    family: str
    created: datetime
    activation_tag: str
    class_words: str
    subsets: tuple[SubsetRules, ...]
    pictures: PictureRules
    adapter: AdapterConfig
    unet: NetworkConfig
    text_encoder: NetworkConfig
    prior: PriorConfig | None
    optimization: OptimizationConfig
    previews: PreviewConfig
    checkpoint_every: int | None
    """None: a tenth of the steps, at least 25."""
    output_name: str
    output_precision: PrecisionName
    converted_rank: int
    """Largest rank of the plain LoRA beside an adapter that is none; 0: no such file."""
    save_every: int
    captions_in_metadata: bool
    deadline_seconds: float
    spec: dict[str, object]
    """The resolved spec as plain data, for metadata and report."""

    @property
    def trained(self) -> dict[str, NetworkConfig]:
        """The networks that are trained, by name."""
        networks = {"unet": self.unet, "text_encoder": self.text_encoder}
        return {name: network for name, network in networks.items() if network.train}
