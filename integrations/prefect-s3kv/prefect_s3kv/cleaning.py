"""`clear_old_cache` as a task, a flow and a deployment: nothing is kept for ever unasked."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from prefect_s3kv.events import emit
from prefect_s3kv.storage import OTHERS, S3KVStorage
from s3kv_flow.adapters import results_of, sweep, sweep_local


@task(name="clear-old-cache", cache_policy=NO_CACHE, persist_result=False)
def clear_old_cache(
    max_days: float = 30,
    *,
    in_s3: bool = True,
    function: str | None = None,
    tag: str | None = None,
    tag_value: str | None = None,
    dry_run: bool = False,
    storage: S3KVStorage | str | None = None,
) -> dict[str, Any]:
    """Clear results that were stored longer ago than ``max_days``.

    Parameters
    ----------
    max_days : float
        Their least age.
    in_s3 : bool
        Delete them in the bucket, too, and not only from the cache of this machine.
    function : str, optional
        Only those of one function, by its cache's name, such as ``"pipeline.features"``.
    tag, tag_value : str, optional
        Only those with this tag.
    dry_run : bool
        Delete nothing, and tell what would go.
    storage : S3KVStorage or str, optional
        The block, or its name.

    Returns
    -------
    dict
        ``entries``, ``size_bytes``, ``locked`` (keys that are kept), ``by_function``; and, where it
        was looked at, ``local_entries`` and ``local_bytes`` of this machine's cache.
    """
    logger = get_run_logger()
    block: Any = (
        S3KVStorage.load(storage.partition("/")[2] or storage)
        if isinstance(storage, str)
        else storage
    )
    store = (block or S3KVStorage()).store()
    report: dict[str, Any] = {"dry_run": dry_run, "max_days": max_days}
    report |= {"entries": 0, "size_bytes": 0, "locked": [], "by_function": {}}
    if not dry_run and tag is None:
        # First, for what goes in S3 goes here, too.
        local = sweep_local(max_days, store, function=function)
        report |= {"local_entries": local.entries, "local_bytes": local.size_bytes}
    if in_s3:
        prefixes = [results_of(function)] if function else ["cache/", OTHERS]
        chosen = None if tag is None else (tag, tag_value or "")
        for prefix in prefixes:
            swept = sweep(max_days, store, prefix=prefix, tag=chosen, dry_run=dry_run)
            report["entries"] += swept.count
            report["size_bytes"] += swept.size_bytes
            report["locked"] += swept.locked
            report["by_function"] |= swept.names
    emit("cleared", function or "all", **{k: v for k, v in report.items() if k != "locked"})
    logger.info(
        "%s: %d results (%s) older than %g days%s",
        "would clear" if dry_run else "cleared",
        report["entries"],
        _size(report["size_bytes"]),
        max_days,
        f"; locked, and kept: {len(report['locked'])}" if report["locked"] else "",
    )
    return report


@flow(name="clear-old-cache")
def clear_old_cache_flow(  # noqa: PLR0917 - of a flow, all are parameters of its form
    max_days: float = 30,
    in_s3: bool = True,
    function: str | None = None,
    tag: str | None = None,
    tag_value: str | None = None,
    dry_run: bool = False,
    storage: str | None = None,
) -> dict[str, Any]:
    """Clear old results, and show what went in an artifact; for a deployment with a schedule.

    ``clear_old_cache_flow.serve(name="nightly", cron="17 3 * * *", parameters={"max_days": 30})``
    """
    report: dict[str, Any] = clear_old_cache(
        max_days,
        in_s3=in_s3,
        function=function,
        tag=tag,
        tag_value=tag_value,
        dry_run=dry_run,
        storage=storage,
    )
    create_table_artifact(
        _rows(report), key="s3kv-cache-cleaning", description=_description(report)
    )
    return report


def _rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    outcome = "would go" if report["dry_run"] else "cleared"
    rows = [
        {"function": name, "results": count, "outcome": outcome}
        for name, count in sorted(report["by_function"].items())
    ]
    rows += [{"function": key, "results": 1, "outcome": "locked, kept"} for key in report["locked"]]
    if report.get("local_entries"):
        local = {"function": "(copies on this machine)", "results": report["local_entries"]}
        rows.append({**local, "outcome": outcome})
    return rows or [{"function": "", "results": 0, "outcome": "nothing was old enough"}]


def _description(report: dict[str, Any]) -> str:
    text = f"Results older than {report['max_days']:g} days: {report['entries']} in S3 "
    text += f"({_size(report['size_bytes'])}, as stored)"
    if "local_entries" in report:
        text += (
            f", {report['local_entries']} copies on this machine ({_size(report['local_bytes'])})"
        )
    return text


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
