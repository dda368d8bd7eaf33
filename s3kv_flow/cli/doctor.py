"""`s3kv doctor` and `s3kv policy`: can this be used as it should, and by whom."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from s3kv_flow._doctor import Finding, examine
from s3kv_flow._iam import ROLES, Role, policy
from s3kv_flow.cli.output import as_json, print_json, store

_MARKS = {"ok": "✓", "degraded": "!", "fault": "✗"}
_STYLES = {"ok": "green", "degraded": "yellow", "fault": "red"}


@click.command()
@as_json
def doctor(as_json: bool) -> None:
    """Tell what the bucket can and cannot do.

    And what that costs, and how to mend it. Writes and deletes a few scratch objects. Exit status 1 where something is at fault, 3 where
    the bucket cannot be reached.
    """
    findings = []
    for finding in examine(store()._backend):
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        click.echo(f"\n{_summary(findings)}")
    sys.exit(1 if any(finding.status == "fault" for finding in findings) else 0)


def _show(finding: Finding) -> None:
    mark = click.style(_MARKS[finding.status], fg=_STYLES[finding.status], bold=True)
    click.echo(f"{mark} {finding.check:<20} {finding.said}")
    if finding.mend:
        click.echo(f"  {'':<20} → {finding.mend}")


def _summary(findings: Sequence[Finding]) -> str:
    counts = {
        status: sum(finding.status == status for finding in findings)
        for status in ("fault", "degraded")
    }
    if not any(counts.values()):
        return "all is well"
    return ", ".join(
        f"{count} {'at fault' if status == 'fault' else 'degraded'}"
        for status, count in counts.items()
        if count
    )


@click.command("policy")
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--principal", metavar="ARN", help="Print a policy for the bucket, for this one.")
def policy_command(role: Role, principal: str | None) -> None:
    """Print the IAM policy of a role.

    As JSON, with the least rights that it needs. A reader gets hits and finds keys by tag; a writer also stores, tags and deletes; a maintainer
    also locks, repairs and cleans.
    """
    settings = store()._backend.settings
    print_json(policy(role, settings.bucket or "", settings.root, principal=principal))
