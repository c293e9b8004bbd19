"""Everything about a job that shapes its adapter, as frozen plain data. Nothing behind it knows protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from trainer.config_concepts import ConceptConfig
from trainer.config_fitting import LossConfig, NoiseConfig, OptimizationConfig, PrecisionName, ValidationConfig
from trainer.config_text import TextConfig
from trainer.data.rules import PictureRules, SubsetRules
from trainer.samplers import SamplerName

AdapterTypeName = Literal["lora", "locon", "loha", "lokr", "dylora"]
PredictionTypeName = Literal["epsilon", "v_prediction"]
Targets = Literal["attention", "attention_mlp", "transformer", "all"]


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
    """0: before and after training only, and `at_steps`."""
    inference_steps: int
    guidance_scale: float
    width: int = 512
    """Pixels."""
    height: int = 512
    sampler: SamplerName = "base"
    at_steps: tuple[int, ...] = ()
    strengths: tuple[float, ...] = ()
    """At which the first `strength_prompts` prompts are drawn, with the final adapter and some of the numbered ones."""
    strength_prompts: int = 0

    def are_due(self, step: int) -> bool:
        """Whether previews are drawn after this step."""
        return step in self.at_steps or bool(self.every_steps and step % self.every_steps == 0)


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
    """Of the first concept, as is `class_words`."""
    class_words: str
    concepts: tuple[ConceptConfig, ...]
    """All of them, the first one first."""
    subsets: tuple[SubsetRules, ...]
    pictures: PictureRules
    adapter: AdapterConfig
    unet: NetworkConfig
    text_encoder: NetworkConfig
    text_encoder_2: NetworkConfig
    clip_skip: int | None
    """Which layer of the text encoders is read, counted from the last, which is 1; None: as the family."""
    prediction_type: PredictionTypeName | None
    """What the base predicts; None: as its files say."""
    zero_terminal_snr: bool | None
    """None: as the base's own schedule."""
    prior: PriorConfig | None
    optimization: OptimizationConfig
    loss: LossConfig
    noise: NoiseConfig
    text: TextConfig
    validation: ValidationConfig | None
    previews: PreviewConfig
    checkpoint_every: int | None
    """None: a tenth of the steps, at least 25."""
    output_name: str
    output_precision: PrecisionName
    converted_rank: int
    """Largest rank of the plain LoRA beside an adapter that is none; 0: no such file."""
    save_every: int
    captions_in_metadata: bool
    tensorboard: bool
    """Whether an event file for TensorBoard is written beside the report."""
    deadline_seconds: float
    spec: dict[str, object]
    """The resolved spec as plain data, for metadata and report."""

    @property
    def activation_tags(self) -> tuple[str, ...]:
        """Of every concept that has one, that of `activation_tag` first."""
        tags = (self.activation_tag, *(subset.activation_tag for subset in self.subsets))
        return tuple(dict.fromkeys(tag for tag in tags if tag))

    @property
    def trained(self) -> dict[str, NetworkConfig]:
        """The networks that are trained, by name."""
        networks = {"unet": self.unet, "text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}
        return {name: network for name, network in networks.items() if network.train}
