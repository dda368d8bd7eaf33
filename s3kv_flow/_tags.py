"""S3's rules for object tags, checked before anything is sent, the same for every server.

The source of the limits is
https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html: at most 10 tags, keys of
1 to 128 and values of up to 256 UTF-16 code units, letters, digits and spaces of any script, and
``+ - = . _ : / @``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from s3kv_flow.errors import InvalidTagError

MAX_TAGS: Final = 10
MAX_KEY_UNITS: Final = 128
MAX_VALUE_UNITS: Final = 256
_PUNCTUATION: Final = frozenset("+-=._:/@ ")


def check_tags(tags: Mapping[str, Any] | None, *, key: str | None = None) -> dict[str, str]:
    """Give the tags as S3 takes them.

    Raises
    ------
    InvalidTagError
        Too many, too long, empty, or with a character that S3 refuses.
    """
    checked = {}
    for name, value in (tags or {}).items():
        if not isinstance(name, str) or not isinstance(value, (str, int, float)):
            raise InvalidTagError(
                f"tag {name!r} is no text", key=key, way_out="Give texts or numbers."
            )
        text = str(value)
        if name.startswith("aws:"):
            raise InvalidTagError(
                f"tag {name!r} begins with aws:, which AWS keeps for itself",
                key=key,
                way_out="Call it something else.",
            )
        if not name:
            raise InvalidTagError("a tag has no name", key=key, way_out="Name it.")
        _check(name, MAX_KEY_UNITS, f"the name of tag {name!r}", key)
        _check(text, MAX_VALUE_UNITS, f"the value of tag {name!r}", key)
        checked[name] = text
    if len(checked) > MAX_TAGS:
        raise InvalidTagError(
            f"{len(checked)} tags, and S3 takes {MAX_TAGS} an object",
            key=key,
            way_out="Leave some out.",
        )
    return checked


def _check(text: str, limit: int, what: str, key: str | None) -> None:
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    if units > limit:
        raise InvalidTagError(
            f"{what} has {units} characters, and S3 takes {limit}", key=key, way_out="Shorten it."
        )
    for character in text:
        if character not in _PUNCTUATION and unicodedata.category(character)[0] not in "LNZ":
            raise InvalidTagError(
                f"{what} has the character {character!r}, which S3 refuses",
                key=key,
                way_out="Keep to letters, digits, spaces and + - = . _ : / @.",
            )


def valid_tags(tags: Mapping[Any, Any]) -> dict[str, str]:
    """Make tags that S3 takes of any names and values; the first ten of them.

    Characters that S3 refuses become ``_``, and what is too long is cut.

    Examples
    --------
    >>> valid_tags({"task": "<lambda>", "runs": 7, "": "no name"})
    {'task': '_lambda_', 'runs': '7'}
    """
    made: dict[str, str] = {}
    for name, value in tags.items():
        key = _valid(str(name).removeprefix("aws:"), MAX_KEY_UNITS)
        if key and len(made) < MAX_TAGS:
            made[key] = _valid(str(value), MAX_VALUE_UNITS)
    return made


def _valid(text: str, limit: int) -> str:
    allowed = [
        one if one in _PUNCTUATION or unicodedata.category(one)[0] in "LNZ" else "_" for one in text
    ]
    cut = "".join(allowed).encode("utf-16-le")[: 2 * limit]
    return cut.decode("utf-16-le", "ignore")


def fill(tags: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Fill ``"{day}"`` in tag values from the arguments of a call.

    Examples
    --------
    >>> fill({"day": "{day}", "team": "ml"}, {"day": 7})
    {'day': '7', 'team': 'ml'}
    """
    try:
        return {
            name: value.format_map(arguments) if isinstance(value, str) and "{" in value else value
            for name, value in tags.items()
        }
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise InvalidTagError(
            f"a tag's template cannot be filled from the arguments ({error})",
            way_out=f"The arguments are {', '.join(arguments) or 'none'}.",
        ) from None
