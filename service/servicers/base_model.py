"""BaseModelService: each RPC as one call of the part that does it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from loramill import v1
from loramill.v1 import base_model_service_pb2_grpc
from service.base_imports import BaseImports
from service.bases import Bases, base_id
from service.caller import current_caller
from service.caption_tokens import CaptionTokens


@dataclass(frozen=True)
class BaseModelServicer(base_model_service_pb2_grpc.BaseModelServiceServicer):
    bases: Bases
    imports: BaseImports
    tokens: CaptionTokens

    async def ListBaseModels(self, request: v1.ListBaseModelsRequest, _context: object) -> v1.ListBaseModelsResponse:
        return await asyncio.to_thread(self.bases.page, request)

    async def GetBaseModel(self, request: v1.GetBaseModelRequest, _context: object) -> v1.BaseModel:
        return await asyncio.to_thread(self.bases.get, base_id(request.name))

    async def ImportBaseModel(self, request: v1.ImportBaseModelRequest, _context: object) -> v1.BaseModel:
        return await asyncio.to_thread(self.imports.import_, current_caller(), request)

    async def InspectTokens(self, request: v1.InspectTokensRequest, _context: object) -> v1.InspectTokensResponse:
        return await asyncio.to_thread(self.tokens.inspect, request)
