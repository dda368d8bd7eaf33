"""Hits from S3 and stores there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import obstore
from measure import FOLDER, Row, compare

from groups.server import bucket
from s3kv_flow._parallel import in_parallel
from s3kv_flow._server import LocalServer


def rows() -> list[Row]:
    server = LocalServer(f"{FOLDER}/server")
    server.start()
    try:
        kv, plain = bucket(server)
        obstore.put(plain, "small", b"x" * 1024)
        small = kv.cached(name="small", version=1)(lambda: "x" * 1024)
        small()
        rows = [
            compare(
                "hit from S3, 1 KB",
                "obstore get",
                lambda: bytes(obstore.get(plain, "small").bytes()),
                small,
                1.3,
                times=200,
            )
        ]
        each = kv.cached(name="each", version=1)(lambda number: "x" * 1024)
        each.map(range(1000))
        for number in range(1000):
            obstore.put(plain, f"each/{number}", b"x" * 1024)
        client = kv._backend.objects.control._requests.client(retries=True)

        def by_boto3(number: int) -> bytes:
            return client.get_object(Bucket="bench", Key=f"each/{number}")["Body"].read()

        def by_obstore(number: int) -> bytes:
            return bytes(obstore.get(plain, f"each/{number}").bytes())

        def in_threads(call: Callable[[int], Any]) -> Callable[[], list[Any]]:
            return lambda: list(in_parallel(call, range(1000), workers=8))

        rows += [
            compare("1,000 hits, 8 threads", "boto3", in_threads(by_boto3), in_threads(each), 0.25),
            compare(
                "map over 1,000 hits",
                "obstore get, 16 threads",
                lambda: list(in_parallel(by_obstore, range(1000), workers=16)),
                lambda: each.map(range(1000)),
                1.25,
            ),
        ]
        array = np.random.default_rng(0).random(32_000_000)
        large = kv.cached(name="large", version=1)(lambda: array)
        rows.append(
            compare(
                "store of a 256 MB array",
                "obstore put",
                lambda: obstore.put(
                    plain, "large", memoryview(array).cast("B"), use_multipart=False
                ),
                large.refresh,
                1.15,
                rounds=3,
            )
        )
        rows.append(
            compare(
                "hit from S3, 256 MB array",
                "obstore get",
                lambda: obstore.get(plain, "large").bytes(),
                large,
                1.15,
                rounds=3,
            )
        )
        return rows
    finally:
        server.stop()
