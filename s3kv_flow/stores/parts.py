"""A large object, written in parts: several at once, and there when the last one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from s3kv_flow._model import Body, size_of
from s3kv_flow._parallel import in_parallel
from s3kv_flow.stores.requests import Boto3Requests

#: A larger object is written in parts, so that no second copy of it is made in memory.
IN_PARTS_FROM_BYTES: Final = 64 * 1024 * 1024
PART_BYTES: Final = 8 * 1024 * 1024
WRITERS: Final = 4
#: S3 takes 10,000 parts at most (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
MOST_PARTS: Final = 9_000


def put_in_parts(
    requests: Boto3Requests,
    name: str,
    body: Body,
    options: Mapping[str, Any],
    *,
    condition: Mapping[str, str],
    check: Callable[[], None],
) -> Mapping[str, Any]:
    """Write an object, and give the server's answer.

    Parameters
    ----------
    requests : Boto3Requests
        Sends them.
    name : str
        The object's name.
    body : sequence of buffers
        Its bytes.
    options, condition : mapping
        What is said with the first request, and with the last one.
    check : callable
        Called when all parts are there; if it raises, nothing was written.
    """
    upload = requests.send("create_multipart_upload", name, **options)["UploadId"]

    def send(part: tuple[int, bytearray]) -> dict[str, Any]:
        number, data = part
        # A part may be sent again: it replaces itself.
        answer = requests.call(
            "upload_part", name, Key=name, UploadId=upload, PartNumber=number, Body=data
        )
        return {"PartNumber": number, "ETag": answer["ETag"]}

    try:
        size = max(PART_BYTES, -(-size_of(body) // MOST_PARTS))
        pieces = enumerate(_joined(body, size), 1)
        parts = list(in_parallel(send, pieces, workers=WRITERS, ahead=1))
        check()
        answer: Mapping[str, Any] = requests.send(
            "complete_multipart_upload",
            name,
            UploadId=upload,
            MultipartUpload={"Parts": parts},
            **condition,
        )
    except BaseException:
        with suppress(Exception):  # parts that nobody completes cost money
            requests.call("abort_multipart_upload", name, Key=name, UploadId=upload)
        raise
    return answer


def _joined(body: Body, size: int) -> Iterator[bytearray]:
    """Cut a body into pieces of one size, and a last one."""
    pending = bytearray()
    for part in body:
        view = memoryview(part).cast("B") if memoryview(part).nbytes else memoryview(b"")
        while view.nbytes:
            piece = view[: size - len(pending)]
            view = view[piece.nbytes :]
            pending += piece
            if len(pending) == size:
                yield pending
                pending = bytearray()
    if pending:
        yield pending
