"""What each RPC needs. An RPC that is not named here is refused to everybody."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a grant allows; each role includes those before it."""

    VIEWER = "viewer"
    """Sees everything of its tenant, and fetches adapters."""
    EDITOR = "editor"
    """Changes everything of its tenant."""
    OPERATOR = "operator"
    """Changes what all tenants share."""

    def includes(self, other: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(other)


def _methods(service: str, **roles: Role) -> dict[str, Role]:
    return {f"/loramill.v1.{service}/{method}": role for method, role in roles.items()}


NEEDED: dict[str, Role] = {
    **_methods(
        "TrainingService",
        CreateTrainingJob=Role.EDITOR,
        AnalyzeConcept=Role.EDITOR,
        GetTrainingJob=Role.VIEWER,
        ListTrainingJobs=Role.VIEWER,
        WatchTrainingJob=Role.VIEWER,
        CancelTrainingJob=Role.EDITOR,
        DeleteTrainingJob=Role.EDITOR,
        DownloadResult=Role.VIEWER,
        ListTrainingMetrics=Role.VIEWER,
        GetTrainingPreviews=Role.VIEWER,
        StreamTrainingLogs=Role.VIEWER,
        ListComputeClasses=Role.VIEWER,
        GetAdmission=Role.VIEWER,
        SetAdmission=Role.OPERATOR,
        ListStuckJobs=Role.OPERATOR,
        GiveUpLaunch=Role.OPERATOR,
    ),
    **_methods(
        "DatasetService",
        CreateDataset=Role.EDITOR,
        UploadFile=Role.EDITOR,
        CreateUploadUrls=Role.EDITOR,
        CompleteUploads=Role.EDITOR,
        FinalizeDataset=Role.EDITOR,
        GetDataset=Role.VIEWER,
        CreateDatasetReport=Role.EDITOR,
        CaptionDataset=Role.EDITOR,
        GetDatasetReport=Role.VIEWER,
        ListDatasets=Role.VIEWER,
        DeleteDataset=Role.EDITOR,
    ),
    **_methods(
        "AdapterService",
        GetAdapter=Role.VIEWER,
        ListAdapters=Role.VIEWER,
        DownloadAdapter=Role.VIEWER,
        CreateDownloadUrl=Role.VIEWER,
        UploadAdapter=Role.EDITOR,
        PromoteAdapter=Role.EDITOR,
        DeleteAdapter=Role.EDITOR,
    ),
    **_methods(
        "BaseModelService",
        ListBaseModels=Role.VIEWER,
        GetBaseModel=Role.VIEWER,
        ImportBaseModel=Role.OPERATOR,
        InspectTokens=Role.VIEWER,
    ),
}
"""The least role, by the full name of the RPC."""

HEALTH_METHODS = frozenset(f"/grpc.health.v1.Health/{method}" for method in ("Check", "List", "Watch"))
"""Answered without credentials: probes have none."""

REFLECTION_METHODS = frozenset(
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha")
)
"""Tell which calls there are, as the published protos do."""
