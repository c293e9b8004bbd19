"""The messages of `loramill.v1`, without the stubs: whoever only reads and writes records needs no grpcio.

The stubs stand in `loramill.v1.<noun>_service_pb2_grpc`.
"""

from loramill.v1.adapter_pb2 import *
from loramill.v1.adapter_service_pb2 import *
from loramill.v1.base_model_pb2 import *
from loramill.v1.base_model_service_pb2 import *
from loramill.v1.dataset_pb2 import *
from loramill.v1.dataset_service_pb2 import *
from loramill.v1.record_pb2 import *
from loramill.v1.run_pb2 import *
from loramill.v1.training_pb2 import *
from loramill.v1.training_service_pb2 import *
