"""DatasetService: each RPC as one call of the part that does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from loramill import v1
from loramill.v1 import dataset_service_pb2_grpc
from service.acceptance import Wanted
from service.caller import current_caller
from service.captioned_datasets import CaptionedDatasets
from service.captioning_requests import spec_of
from service.dataset_imports import DatasetImports
from service.dataset_reports import DatasetReports
from service.datasets import Datasets, dataset_id
from service.direct_transfers import no_direct_transfers
from service.direct_uploads import DirectUploads
from service.submission import Submission
from service.uploads import Uploads


@dataclass(frozen=True)
class DatasetServicer(dataset_service_pb2_grpc.DatasetServiceServicer):
    datasets: Datasets
    uploads: Uploads
    imports: DatasetImports
    captioned: CaptionedDatasets
    reports: DatasetReports
    submission: Submission
    direct: DirectUploads | None = None
    """None where no addresses are given out."""

    async def CreateDataset(self, request: v1.CreateDatasetRequest, _context: object) -> v1.Dataset:
        create = self.datasets.create
        if request.source_uri:
            create = self.imports.create
        elif request.captioning_job:
            create = self.captioned.create
        return await asyncio.to_thread(create, current_caller(), request)

    async def UploadFile(
        self, request_iterator: AsyncIterator[v1.UploadFileRequest], _context: object
    ) -> v1.UploadFileResponse:
        return v1.UploadFileResponse(file=await self.uploads.take(current_caller(), request_iterator))

    async def CreateUploadUrls(
        self, request: v1.CreateUploadUrlsRequest, _context: object
    ) -> v1.CreateUploadUrlsResponse:
        if self.direct is None:
            raise no_direct_transfers("UploadFile")
        return await asyncio.to_thread(self.direct.urls, current_caller(), request)

    async def CompleteUploads(self, request: v1.CompleteUploadsRequest, _context: object) -> v1.CompleteUploadsResponse:
        if self.direct is None:
            raise no_direct_transfers("UploadFile")
        return await asyncio.to_thread(self.direct.complete, current_caller(), request)

    async def FinalizeDataset(self, request: v1.FinalizeDatasetRequest, _context: object) -> v1.Dataset:
        return await asyncio.to_thread(self.datasets.finalize, current_caller(), dataset_id(request.name))

    async def GetDataset(self, request: v1.GetDatasetRequest, _context: object) -> v1.Dataset:
        return await asyncio.to_thread(self.datasets.get, current_caller().tenant, dataset_id(request.name))

    async def ListDatasets(self, request: v1.ListDatasetsRequest, _context: object) -> v1.ListDatasetsResponse:
        return await asyncio.to_thread(self.datasets.page, current_caller().tenant, request)

    async def CreateDatasetReport(self, request: v1.CreateDatasetReportRequest, _context: object) -> v1.TrainingJob:
        wanted = Wanted(v1.JOB_KIND_DATASET_REPORT, request.spec, request.request_id)
        return await self.submission.take(current_caller(), wanted, validate_only=request.validate_only)

    async def CaptionDataset(self, request: v1.CaptionDatasetRequest, _context: object) -> v1.TrainingJob:
        wanted = Wanted(v1.JOB_KIND_CAPTIONING, spec_of(request), request.request_id, request.captioning)
        return await self.submission.take(current_caller(), wanted, validate_only=request.validate_only)

    async def GetDatasetReport(
        self, request: v1.GetDatasetReportRequest, _context: object
    ) -> AsyncIterator[v1.GetDatasetReportResponse]:
        stored = await asyncio.to_thread(self.reports.newest, current_caller().tenant, request)
        yield v1.GetDatasetReportResponse(report=stored.report)
        pieces = self.reports.pieces(stored)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield v1.GetDatasetReportResponse(data=piece)

    async def DeleteDataset(self, request: v1.DeleteDatasetRequest, _context: object) -> v1.DeleteDatasetResponse:
        await asyncio.to_thread(self.datasets.delete, current_caller(), dataset_id(request.name))
        return v1.DeleteDatasetResponse()
