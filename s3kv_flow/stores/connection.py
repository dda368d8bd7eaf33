"""Where a bucket is and how to reach it: what the obstore and the boto3 path have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from s3kv_flow.stores.failures import no_credentials, raise_from_boto3

if TYPE_CHECKING:
    import boto3

CONNECT_TIMEOUT_SECONDS: Final = 5
#: Between two pieces of an answer, so that a large object may take as long as it takes.
READ_TIMEOUT_SECONDS: Final = 30


@dataclass(frozen=True)
class Connection:
    """A bucket's address and the credentials for it; holds no open connection."""

    bucket: str
    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    session: boto3.Session | None = field(default=None, repr=False, compare=False)

    @property
    def endpoint(self) -> str:
        """The endpoint as a person would name it."""
        return self.endpoint_url or "AWS"

    def boto3_session(self) -> boto3.Session:
        """Give the session the chain of credentials is asked through."""
        import boto3

        if self.session is not None:
            return self.session
        try:
            return boto3.Session(
                aws_access_key_id=self.access_key_id,
                aws_secret_access_key=self.secret_access_key,
                aws_session_token=self.session_token,
                region_name=self.region,
            )
        except Exception as error:
            raise_from_boto3(error, bucket=self.bucket, endpoint=self.endpoint, name=None)

    def credentials(self) -> Callable[[], Any]:
        """Give obstore's view of the boto3 chain: a function it calls when credentials run out.

        obstore ships one of its own, which does not import on Python 3.10.
        """
        session = self.boto3_session()
        found = session.get_credentials()
        if found is None:
            raise no_credentials()

        def provide() -> dict[str, object]:
            frozen = found.get_frozen_credentials()
            expires = getattr(found, "_expiry_time", None)  # botocore tells it nowhere else
            return {
                "access_key_id": frozen.access_key,
                "secret_access_key": frozen.secret_key,
                "token": frozen.token,
                "expires_at": expires if isinstance(expires, datetime) else _far(),
            }

        return provide

    def resolved_region(self) -> str:
        """Give the region to sign for."""
        if self.region or self.session is None:
            return self.region or "us-east-1"
        return self.session.region_name or "us-east-1"


def _far() -> datetime:
    from datetime import timedelta

    return datetime.now(timezone.utc) + timedelta(minutes=30)
