"""One request by boto3: the client that sends it, and what its failures are called."""

from __future__ import annotations

import threading
from typing import Any, Final, NoReturn

from s3kv_flow._process import reset_after_fork
from s3kv_flow.errors import S3KVError
from s3kv_flow.stores.answers import code_of, status_of
from s3kv_flow.stores.connection import (
    CONNECT_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    Connection,
)
from s3kv_flow.stores.failures import failure, raise_from_boto3

#: What boto3 calls the conditions of a request.
CONDITIONS: Final = ("IfMatch", "IfNoneMatch")


class ExpectedError(Exception):
    """An HTTP status that is an answer, not a failure."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Boto3Requests:
    """Sends requests to one bucket."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._forget()
        reset_after_fork(self._forget)

    def _forget(self) -> None:
        self._opening = threading.Lock()
        self._clients: dict[bool, Any] = {}

    def client(self, *, retries: bool) -> Any:
        """Give the client that tries again, or the one that does not."""
        with self._opening:  # making a client is not safe under threads, using one is
            if retries not in self._clients:
                self._clients[retries] = self._open(retries=retries)
            return self._clients[retries]

    def _open(self, *, retries: bool) -> Any:
        from botocore.config import Config

        connection = self.connection
        try:
            return connection.boto3_session().client(
                "s3",
                endpoint_url=connection.endpoint_url,
                region_name=connection.resolved_region(),
                config=Config(
                    connect_timeout=CONNECT_TIMEOUT_SECONDS,
                    read_timeout=READ_TIMEOUT_SECONDS,
                    retries={"total_max_attempts": 3 if retries else 1, "mode": "standard"},
                    s3={"addressing_style": "path" if connection.endpoint_url else "auto"},
                    # Older servers refuse the checksum trailers that are boto3's default over https.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    max_pool_connections=32,
                ),
            )
        except S3KVError:
            raise
        except Exception as error:
            self.raise_(error, None)

    def raise_(self, error: Exception, name: str | None, *, conditional: bool = False) -> NoReturn:
        """Raise what boto3 raised as one of this library's errors."""
        connection = self.connection
        raise_from_boto3(
            error,
            bucket=connection.bucket,
            endpoint=connection.endpoint,
            name=name,
            conditional=conditional,
        )

    def call(self, verb: str, name: str | None, *, retries: bool = True, **parameters: Any) -> Any:
        """Send a request, and give boto3's answer.

        Raises
        ------
        ExpectedError
            It is not there, or it has not changed.
        S3KVError
            Anything else that went wrong.
        """
        client = self.client(retries=retries)
        try:
            return getattr(client, verb)(Bucket=self.connection.bucket, **parameters)
        except Exception as error:
            if status_of(error) in (304, 404) and code_of(error) != "NoSuchBucket":
                raise ExpectedError(status_of(error)) from error
            # A read's condition is answered 304.
            conditional = verb != "get_object" and not parameters.keys().isdisjoint(CONDITIONS)
            self.raise_(error, name, conditional=conditional)

    def send(self, verb: str, name: str, **parameters: Any) -> Any:
        """Send a write: once, for a second one would meet what the first one wrote."""
        return self.call(verb, name, retries=False, Key=name, **parameters)

    def failure(
        self, code: str, detail: str, name: str | None, *, conditional: bool = False
    ) -> S3KVError:
        """Give the error for what the server said."""
        connection = self.connection
        return failure(
            code,
            detail,
            bucket=connection.bucket,
            endpoint=connection.endpoint,
            name=name,
            conditional=conditional,
        )

    def close(self) -> None:
        """Close the connections."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()
