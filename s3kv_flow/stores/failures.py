"""Failures of obstore and boto3 in this library's words: translated here, once."""

from __future__ import annotations

import re
from typing import NoReturn

from s3kv_flow.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    ConfigurationError,
    InvalidKeyError,
    S3KVError,
    StoreUnavailableError,
)
from s3kv_flow.stores.protocols import PreconditionFailedError

# The second is how obstore tells of one object of a bulk delete.
_CODE = re.compile(r"<Code>([A-Za-z0-9.]+)</Code>|\(code: ([A-Za-z0-9.]+)\)")
_STATUS = re.compile(r"status code: (\d{3})")

#: Two conditional writes met, and neither has lost yet: try again
#: (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
CONFLICT = "ConditionalRequestConflict"

#: What passes by itself. Older Ceph says UnknownError where conditional writes meet.
PASSING = {
    CONFLICT,
    "InternalError",
    "ServiceUnavailable",
    "SlowDown",
    "UnknownError",
    "500",
    "502",
    "503",
    "504",
}

_DENIED = {
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "401",
    "403",
    "Unauthorized",
    "Forbidden",
}
_WAYS_OUT = {
    "InvalidAccessKeyId": "The server does not know this access key: check AWS_ACCESS_KEY_ID or the profile.",
    "SignatureDoesNotMatch": "The secret does not belong to the access key: check AWS_SECRET_ACCESS_KEY.",
    "RequestTimeTooSkewed": "This machine's clock is wrong: set it.",
    "ExpiredToken": "The session's credentials have expired: renew them.",
}


def failure(
    code: str,
    detail: str,
    *,
    bucket: str,
    endpoint: str,
    name: str | None,
    conditional: bool = False,
) -> S3KVError:
    """Give the error for one S3 error code (or HTTP status, where the answer had no body).

    ``conditional`` says that the request had a condition that may have failed: whoever had none
    and is told so has met a broken server, and not another writer.
    """
    if code == "InvalidBucketName":
        return BucketNotFoundError(
            f"{bucket!r} is no name for a bucket at {endpoint}",
            key=name,
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
            way_out="A name has 3 to 63 characters: lower-case letters, digits, dots and dashes.",
        )
    if code == "NoSuchBucket":
        return BucketNotFoundError(
            f"bucket {bucket!r} does not exist at {endpoint}",
            key=name,
            way_out="Check S3_BUCKET and S3_ENDPOINT_URL, or create the bucket.",
        )
    if code in _DENIED:
        return AccessDeniedError(
            f"access to bucket {bucket!r} at {endpoint} was denied ({code})",
            key=name,
            way_out=_WAYS_OUT.get(code, "Check what these credentials may do in this bucket."),
        )
    if code in {"PreconditionFailed", "412"} and conditional:
        return PreconditionFailedError("another write came first", key=name)
    if code == "KeyTooLongError":
        return InvalidKeyError("the server finds the key too long", key=name, way_out="Shorten it.")
    error = StoreUnavailableError(
        f"the store at {endpoint} did not answer as it should ({code}: {_short(detail)})",
        key=name,
        way_out="Check that it is up and reachable.",
    )
    error.reason = code
    return error


def _short(detail: str) -> str:
    return detail.partition("Debug source")[0].strip().partition("\n")[0][:200]


def from_obstore(
    error: Exception, *, bucket: str, endpoint: str, name: str | None, conditional: bool = False
) -> S3KVError:
    """Translate what obstore raised; it says the S3 code in its text only."""
    import obstore.exceptions as raised

    text = str(error)
    code = _CODE.search(text)
    status = _STATUS.search(text)
    refused = isinstance(error, (raised.PreconditionError, raised.AlreadyExistsError))
    if refused and (code is None or code.group(1) != CONFLICT):
        word = "PreconditionFailed"  # AWS says NoSuchKey where an expected object is absent
    elif code is not None:
        word = code.group(1) or code.group(2)
    elif isinstance(error, (raised.PermissionDeniedError, raised.UnauthenticatedError)):
        word = "AccessDenied"
    elif isinstance(error, raised.InvalidPathError):
        return InvalidKeyError("the key has a form that object names cannot have", key=name)
    else:
        word = status.group(1) if status else "no answer"
    return failure(word, text, bucket=bucket, endpoint=endpoint, name=name, conditional=conditional)


def raise_from_boto3(
    error: Exception, *, bucket: str, endpoint: str, name: str | None, conditional: bool = False
) -> NoReturn:
    """Translate what boto3 raised."""
    from botocore import exceptions as raised

    if isinstance(error, raised.ClientError):
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        raise failure(
            code, str(error), bucket=bucket, endpoint=endpoint, name=name, conditional=conditional
        ) from error
    if isinstance(error, (raised.NoCredentialsError, raised.PartialCredentialsError)):
        raise no_credentials() from error
    if isinstance(error, (raised.ProfileNotFound, raised.ParamValidationError, ValueError)):
        raise ConfigurationError(str(error), way_out="Check the AWS settings.") from error
    raise failure("no answer", str(error), bucket=bucket, endpoint=endpoint, name=name) from error


def no_credentials() -> AccessDeniedError:
    """Give the error for an empty credential chain."""
    return AccessDeniedError(
        "no AWS credentials were found",
        way_out="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role.",
    )
