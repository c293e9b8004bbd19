"""AdapterService: each RPC as one call of the part that does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from loramill import v1
from loramill.v1 import adapter_service_pb2_grpc
from service.adapter_uploads import AdapterUploads
from service.adapters import Adapters, adapter_id
from service.caller import current_caller
from service.direct_transfers import DirectTransfers, no_direct_transfers
from service.times import to_timestamp


@dataclass(frozen=True)
class AdapterServicer(adapter_service_pb2_grpc.AdapterServiceServicer):
    adapters: Adapters
    uploads: AdapterUploads
    direct: DirectTransfers | None = None
    """None where no addresses are given out."""

    async def GetAdapter(self, request: v1.GetAdapterRequest, _context: object) -> v1.Adapter:
        return await asyncio.to_thread(self.adapters.get, current_caller().tenant, adapter_id(request.name))

    async def ListAdapters(self, request: v1.ListAdaptersRequest, _context: object) -> v1.ListAdaptersResponse:
        return await asyncio.to_thread(self.adapters.page, current_caller().tenant, request)

    async def DownloadAdapter(
        self, request: v1.DownloadAdapterRequest, _context: object
    ) -> AsyncIterator[v1.DownloadAdapterResponse]:
        stored = await asyncio.to_thread(self.adapters.file, current_caller().tenant, request)
        yield v1.DownloadAdapterResponse(file=stored.file)
        pieces = self.adapters.pieces(stored)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield v1.DownloadAdapterResponse(data=piece)

    async def CreateDownloadUrl(
        self, request: v1.CreateDownloadUrlRequest, _context: object
    ) -> v1.CreateDownloadUrlResponse:
        if self.direct is None:
            raise no_direct_transfers("DownloadAdapter")
        stored = await asyncio.to_thread(self.adapters.file, current_caller().tenant, request)
        address = self.direct.addresses.download(stored.key, stored.file.file_name, self.direct.lifetime)
        return v1.CreateDownloadUrlResponse(
            file=stored.file, url=address.url, expire_time=to_timestamp(address.expire_time)
        )

    async def UploadAdapter(
        self, request_iterator: AsyncIterator[v1.UploadAdapterRequest], _context: object
    ) -> v1.Adapter:
        return await self.uploads.take(current_caller(), request_iterator)

    async def PromoteAdapter(self, request: v1.PromoteAdapterRequest, _context: object) -> v1.Adapter:
        return await asyncio.to_thread(self.adapters.promote, current_caller(), adapter_id(request.name))

    async def DeleteAdapter(self, request: v1.DeleteAdapterRequest, _context: object) -> v1.DeleteAdapterResponse:
        await asyncio.to_thread(self.adapters.delete, current_caller(), adapter_id(request.name))
        return v1.DeleteAdapterResponse()
