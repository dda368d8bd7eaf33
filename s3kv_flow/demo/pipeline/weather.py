"""What the pipeline knows of weather. The demo edits `is_rough`, and runs the pipeline again."""

import pandas as pd


def is_rough(weather: pd.DataFrame) -> pd.Series:
    """Tell the hours in which flying is no pleasure."""
    return (weather["wind_speed"] > 20) | (weather["visib"] < 3) | (weather["precip"] > 0.05)
