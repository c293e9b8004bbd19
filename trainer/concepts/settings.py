"""What follows from a verdict for the job. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.concepts.verdict import Verdict
from trainer.config_concepts import ConceptConfig


@dataclass(frozen=True, kw_only=True)
class ConceptSettings:
    """How the concept is to be taught."""

    activation_tag: str
    """Empty for none."""
    class_words: str
    """Empty where the base knows no words for it."""
    keeps_the_class: bool
    """Whether prior preservation holds what the class words mean."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is chosen, what was given included: that stays."""

    concept: ConceptSettings
    is_style: bool
    """Whether what is taught is how many things are rendered: known ones that captions call by different names."""

    def as_job_file(self) -> dict[str, object]:
        """In the words of a job file."""
        concept = self.concept
        found: dict[str, object] = {"kind": "new" if concept.activation_tag else "modified"}
        if concept.activation_tag:
            found["activation_tag"] = concept.activation_tag
        if concept.class_words:
            found["class_words"] = concept.class_words
        prior: dict[str, object] = {"enabled": concept.keeps_the_class}
        if concept.keeps_the_class and concept.class_words:
            prior["captions"] = [concept.class_words]
        found["prior_preservation"] = prior
        return {"concept": found, "purpose": "style"} if self.is_style else {"concept": found}


def settings_of(concept: ConceptConfig, verdict: Verdict, name: str, suggested_tag: str) -> Settings:
    """`name` is what the base knows it by, or what captions call it; `suggested_tag` means nothing to the base.

    A word that the base does not know holds nothing that could be preserved, so that a new concept goes without.
    """
    known_as = "" if verdict is Verdict.NEW else name
    keeps = bool(known_as) if concept.prior_preservation is None else concept.prior_preservation
    return Settings(
        concept=ConceptSettings(
            activation_tag=concept.activation_tag or (suggested_tag if verdict is Verdict.NEW else ""),
            class_words=concept.class_words or known_as,
            keeps_the_class=keeps,
        ),
        is_style=verdict is Verdict.MODIFIED and not name,
    )
