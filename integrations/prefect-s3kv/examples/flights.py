"""Which carriers out of New York are late? A Prefect flow whose second run is all `Cached`.

python flights.py            with S3_BUCKET and so on set, or for a first try without
python flights.py --json     the states of the tasks, for programs

Edit ``LATE_MINUTES`` in steps.py: only what depends on it is computed again.
"""

import argparse
import json

import steps
from prefect import flow
from prefect.artifacts import create_markdown_artifact

import s3kv_flow as s3kv
from prefect_s3kv import cached_task

PIPELINE = s3kv.Policy(tags={"pipeline": "flights"}, max_age_days=30)

load = cached_task(steps.load, policy=PIPELINE)
clean = cached_task(steps.clean, policy=PIPELINE)
late_by_carrier = cached_task(steps.late_by_carrier, policy=PIPELINE)
report = cached_task(steps.report, policy=PIPELINE)


@flow(name="flights")
def flights() -> dict[str, str]:
    """Compute each step at most once, airports side by side, and give the states."""
    loaded = load.submit("flights")
    flown = clean.submit(loaded)
    airports = {origin: late_by_carrier.submit(flown, origin) for origin in ("EWR", "JFK", "LGA")}
    whole = report.submit(list(airports.values()))
    create_markdown_artifact(f"```\n{whole.result().to_string()}\n```", key="late-carriers")
    futures = {"load": loaded, "clean": flown, **airports, "report": whole}
    return {name: future.state.name for name, future in futures.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    found = flights()
    print(json.dumps(found) if as_json else "\n".join(f"{k:20}{v}" for k, v in found.items()))
