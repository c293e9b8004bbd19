"""Launches, classes and settings whose Jobs are kept as golden files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loramill import v1
from service.compute_classes import ComputeClass
from service.kubernetes_names import LaunchId
from service.manifests import Manifest, TrainerLaunch, render_job
from service.pod_settings import PodSettings

TAINT = "Taint$(HOME)_Ünd"
"""A mark in all text that users write."""

DIGEST = "sha256:" + "0123456789abcdef" * 4
IMAGE = f"registry.example/loramill/trainer@{DIGEST}"

GPU = {
    "name": "a10",
    "description": "one NVIDIA A10",
    "gpus": 1,
    "gpu_memory_gib": 24,
    "cpu": 4,
    "memory": "16Gi",
    "ephemeral_storage": "40Gi",
    "node_selector": {"nvidia.com/gpu.product": "NVIDIA-A10"},
    "tolerations": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}],
    "price_per_hour": 1.2,
}
SPOT = GPU | {
    "name": "a10-spot",
    "spot": True,
    "node_selector": {},
    "node_affinity": [
        {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": [22000]},
        {"key": "karpenter.sh/capacity-type", "values": ["spot"]},
        {"key": "example.com/broken", "operator": "DoesNotExist"},
    ],
    "tolerations": [
        {"key": "nvidia.com/gpu", "effect": "NoSchedule"},
        {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true"},
    ],
    "priority_class_name": "low",
    "price_per_hour": 0.4,
}
CPU = {"name": "cpu", "gpus": 0, "cpu": "2", "memory": "8Gi"}
TRAINERS = {"image": IMAGE}


@dataclass(frozen=True)
class Example:
    launch: TrainerLaunch
    compute_class: ComputeClass
    pod: PodSettings

    @property
    def job(self) -> Manifest:
        return render_job(self.launch, self.compute_class, self.pod)


def launch_of(tenant: str = "tenant-a", number: int = 1, deadline: int = 7200, text: str = TAINT) -> TrainerLaunch:
    """A launch of a job whose every text is the user's."""
    launch = LaunchId(tenant, "fzc7n3m0k8s1q4tw", number)
    spec = v1.TrainingSpec(display_name=text, base_model="baseModels/shapes", compute_class="a10")
    spec.dataset.dataset = "datasets/0000000000000000"
    spec.dataset.subsets.add(path_prefix=text).captions.text = text
    spec.concept.activation_tag = spec.concept.class_words = text
    spec.previews.prompts.add(prompt=text, negative_prompt=text)
    spec.outputs.name = text
    spec.deadline.FromSeconds(deadline)
    assignment = v1.Assignment(training_job=f"trainingJobs/{launch.job}", launch=number, spec=spec)
    assignment.create_time.FromSeconds(1_800_000_000)
    uri = f"s3://bucket/prefix/{tenant}/jobs/{launch.job}/control/launches/{number}.json"
    return TrainerLaunch(launch, assignment, uri)


def example(
    compute_class: dict[str, Any], trainers: dict[str, Any] | None = None, launch: TrainerLaunch | None = None
) -> Example:
    settings = PodSettings.model_validate(TRAINERS | (trainers or {}))
    return Example(launch or launch_of(), ComputeClass.model_validate(compute_class), settings)


GOLDEN: dict[str, Example] = {
    "on-demand-gpu": example(GPU),
    "spot-gpu": example(SPOT, launch=launch_of(number=2)),
    "cpu": example(
        CPU,
        {
            "s3": {
                "endpoint_url": "https://s3.example:9000",
                "region": "eu-1",
                "ca_bundle": {"config_map": "store-ca", "key": "ca.pem"},
            },
            "image_pull_secrets": ["registry"],
        },
    ),
    "kueue": example(GPU, {"queue_name": "training", "queue_priority_class": "normal"}),
    "image-volume": example(GPU, {"base_models": {"image": f"registry.example/bases@{DIGEST}"}}),
    "persistent-volume-claim": example(
        GPU | {"runtime_class_name": "nvidia", "shm": "2Gi"},
        {
            "base_models": {"persistent_volume_claim": "bases"},
            "service_account_name": "trainer",
            "mount_credentials": False,
        },
    ),
}
"""By the name of its file in `golden/`."""
