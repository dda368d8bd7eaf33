"""Least-privilege policies for those who read, write and maintain one store.

The names of the actions are those of
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from s3kv_flow._layout import check_root
from s3kv_flow.errors import ConfigurationError

Role = Literal["reader", "writer", "maintainer"]
ROLES: Final[tuple[Role, ...]] = ("reader", "writer", "maintainer")

#: On the bucket: what does not know prefixes, and so has no condition.
_BUCKET: Final[dict[Role, list[str]]] = {
    "reader": [],
    "writer": ["s3:GetBucketObjectLockConfiguration"],
    "maintainer": [
        "s3:GetBucketVersioning",
        "s3:GetLifecycleConfiguration",
        "s3:PutLifecycleConfiguration",
    ],
}
_LISTS: Final[dict[Role, list[str]]] = {
    "reader": ["s3:ListBucket"],
    "writer": [],
    "maintainer": ["s3:ListBucketVersions"],
}
_OBJECTS: Final[dict[Role, list[str]]] = {
    # Without the right to read locks, a HEAD shows a locked object as if it had no lock.
    "reader": [
        "s3:GetObject",
        "s3:GetObjectTagging",
        "s3:GetObjectRetention",
        "s3:GetObjectLegalHold",
    ],
    "writer": [
        "s3:DeleteObject",
        "s3:PutObject",
        "s3:PutObjectTagging",
        # On buckets that keep versions, tags are read and written of the version that was seen.
        "s3:GetObjectVersionTagging",
        "s3:PutObjectVersionTagging",
    ],
    "maintainer": [
        "s3:BypassGovernanceRetention",
        "s3:GetObjectVersion",
        "s3:PutObjectLegalHold",
        "s3:PutObjectRetention",
    ],
}


def policy(role: Role, bucket: str, root: str, *, principal: str | None = None) -> dict[str, Any]:
    """Give the policy document of a role; each role may do what those before it may.

    Parameters
    ----------
    role : {"reader", "writer", "maintainer"}
        Who gets hits; who also stores; who also locks, repairs and cleans.
    bucket, root : str
        The store.
    principal : str, optional
        An ARN: then it is a policy for the bucket, else one for an identity.

    Raises
    ------
    ConfigurationError
        There is no such role.

    Examples
    --------
    >>> document = policy("reader", "bucket", "s3kv")
    >>> [statement["Sid"] for statement in document["Statement"]]
    ['ListObjects', 'TellAbsent', 'Objects']
    """
    if role not in ROLES:
        raise ConfigurationError(
            f"role={role!r} has no meaning", way_out=f"Known are {', '.join(ROLES)}."
        )
    root = check_root(root)
    held = ROLES[: ROLES.index(role) + 1]

    def actions(of: dict[Role, list[str]]) -> list[str]:
        return sorted(action for one in held for action in of[one])

    where = f"arn:aws:s3:::{bucket}"
    statements: list[dict[str, Any]] = [
        {
            "Sid": "ListObjects",
            "Action": actions(_LISTS),
            "Resource": where,
            "Condition": {"StringLike": {"s3:prefix": [root, f"{root}/*"]}},
        },
        {
            # Asked for an object that is absent, S3 wants the right to list, and knows no prefix
            # then; without it the answer is 403, as if the object were forbidden.
            "Sid": "TellAbsent",
            "Action": ["s3:ListBucket"],
            "Resource": where,
            "Condition": {"Null": {"s3:prefix": "true"}},
        },
        {"Sid": "Objects", "Action": actions(_OBJECTS), "Resource": f"{where}/{root}/*"},
    ]
    if actions(_BUCKET):
        statements.append({"Sid": "Bucket", "Action": actions(_BUCKET), "Resource": where})
    for statement in statements:
        statement["Effect"] = "Allow"
        if principal is not None:
            statement["Principal"] = {"AWS": principal}
    return {"Version": "2012-10-17", "Statement": statements}
