"""The podFailurePolicy of every trainer's Job: no decisions, but a record of the cause in the Job's condition (KEP-3329).

With `backoffLimit: 0` the Job fails at the pod's end in any case. These rules make its condition say why, in words that stay
when the pod is gone: "Pod … has condition DisruptionTarget matching FailJob rule at index 0" or "Container trainer … failed with
exit code 65 matching FailJob rule at index 3".
"""

from __future__ import annotations

from typing import Any

from loramill import v1
from service.kubernetes_names import CONTAINER


def _failed_with(operator: str, code: int) -> dict[str, Any]:
    return {
        "action": "FailJob",
        "onExitCodes": {"containerName": CONTAINER, "operator": operator, "values": [code]},
    }


_DISRUPTED: dict[str, Any] = {
    "action": "FailJob",
    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
}

POD_FAILURE_POLICY: dict[str, Any] = {
    "rules": [
        _DISRUPTED,
        *(_failed_with("In", code) for code in v1.ExitCode.values() if code != v1.EXIT_CODE_SUCCESS),
        _failed_with("NotIn", v1.EXIT_CODE_SUCCESS),
    ]
}
