"""Keys by tag, listings and deletions, on one bucket of 20,000 keys."""

from __future__ import annotations

import obstore
from measure import FOLDER, Row, compare

from groups.server import bucket
from s3kv_flow._model import ANY
from s3kv_flow._parallel import in_parallel
from s3kv_flow._server import LocalServer


def rows() -> list[Row]:
    server = LocalServer(f"{FOLDER}/tagged")
    server.start()
    try:
        kv, plain = bucket(server)
        objects = kv._backend.objects

        def store(number: int) -> None:
            kv.add(f"keys/{number:05}", number, tags={"one": "in"} if number % 100 == 0 else None)

        for _ in in_parallel(store, range(20_000)):
            pass

        def every_keys_tags() -> list[str]:
            names = [meta.name for _, meta in kv._backend.listed("keys/")]
            found = zip(names, in_parallel(objects.tags, names), strict=True)
            return [name for name, tagged in found if tagged and tagged.tags.get("one") == "in"]

        def found() -> None:
            assert len(kv.find_keys_by_tag_value("one", "in")) == 200

        def made(prefix: str) -> list[str]:
            for _ in in_parallel(lambda number: kv.add(f"{prefix}/{number}", 1), range(5000)):
                pass
            return [kv._backend.layout.document(f"{prefix}/{number}") for number in range(5000)]

        def listed() -> None:
            assert sum(len(page) for page in obstore.list(plain, "s3kv/keys", chunk_size=1000))

        one_by_one, batch = made("one"), made("batch")
        return [
            compare(
                "find 1 % of 20,000 keys by tag",
                "every key's tags, 16 threads",
                every_keys_tags,
                found,
                1 / 30,
                rounds=1,
            ),
            compare(
                "list 20,000 keys",
                "obstore list",
                listed,
                lambda: kv.list_keys_with_prefix("keys/"),
                1.3,
                rounds=3,
            ),
            compare(
                "delete 5,000 keys",
                "one by one",
                lambda: [objects.delete([name]) for name in one_by_one],
                lambda: kv._backend.delete_many((name, ANY) for name in batch),
                0.25,
                rounds=1,
            ),
        ]
    finally:
        server.stop()
