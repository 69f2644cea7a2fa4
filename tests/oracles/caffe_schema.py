"""The part of caffe.proto that holds weights, for Google's protobuf library; field numbers and types as in BVLC's file."""

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
ONE, MANY = FIELD.LABEL_OPTIONAL, FIELD.LABEL_REPEATED
INT32, INT64, BOOL, STRING = FIELD.TYPE_INT32, FIELD.TYPE_INT64, FIELD.TYPE_BOOL, FIELD.TYPE_STRING
FLOAT, DOUBLE = FIELD.TYPE_FLOAT, FIELD.TYPE_DOUBLE

MESSAGES = {
    "BlobShape": [("dim", 1, MANY, INT64)],
    "BlobProto": [
        ("num", 1, ONE, INT32),
        ("channels", 2, ONE, INT32),
        ("height", 3, ONE, INT32),
        ("width", 4, ONE, INT32),
        ("data", 5, MANY, FLOAT),
        ("diff", 6, MANY, FLOAT),
        ("shape", 7, ONE, "BlobShape"),
        ("double_data", 8, MANY, DOUBLE),
    ],
    "LayerParameter": [
        ("name", 1, ONE, STRING),
        ("type", 2, ONE, STRING),
        ("bottom", 3, MANY, STRING),
        ("top", 4, MANY, STRING),
        ("blobs", 7, MANY, "BlobProto"),
    ],
    "NetParameter": [
        ("name", 1, ONE, STRING),
        ("debug_info", 7, ONE, BOOL),
        ("layer", 100, MANY, "LayerParameter"),
    ],
}
NUMERIC = (INT64, FLOAT, DOUBLE)


@cache
def net_parameter(packed: bool) -> Any:
    """Return the class of NetParameter; `packed` says how repeated numbers are written (both are read)."""
    file = descriptor_pb2.FileDescriptorProto(name=f"caffe_{packed}.proto", package="caffe", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for entry, number, label, kind in fields:
            added = message.field.add(name=entry, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = FIELD.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                added.type = kind
                if label == MANY and kind in NUMERIC:
                    added.options.packed = packed
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))
