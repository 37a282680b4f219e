#!/usr/bin/env python3
"""Joins tile sets (MBTiles) that share no tile: join-mbtiles.py OUTPUT INPUT...

Tiles are copied as they are. Name, type and whatever else the metadata say are the first's; bounds, zooms and
the list of vector layers are those of all. Ends with 1 if an input is no tile set or is damaged, if formats
differ, or if two inputs hold different tiles in the same place: a vector tile cannot be laid over another by
its bytes.
"""

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

Metadata = dict[str, str]
SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE metadata (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB,
                    PRIMARY KEY (zoom_level, tile_column, tile_row)) WITHOUT ROWID;
"""
PLACE = "zoom_level = ? AND tile_column = ? AND tile_row = ?"


class NotJoinedError(Exception):
    """Why the inputs make no tile set."""


def opened(path: str) -> sqlite3.Connection:
    """A tile set to read from: nobody writes to it, so that no lock is asked of the file system."""
    tiles = sqlite3.connect(f"file:{quote(path)}?mode=ro&immutable=1", uri=True)
    try:
        found = tiles.execute("PRAGMA quick_check").fetchone()[0]
        tiles.execute("SELECT zoom_level FROM tiles LIMIT 1")
    except sqlite3.Error as error:
        raise NotJoinedError(f"{path} is no tile set: {error}") from error
    if found != "ok":
        raise NotJoinedError(f"{path} is damaged: {found}")
    return tiles


def metadata_of(tiles: sqlite3.Connection) -> Metadata:
    """What a tile set says of itself."""
    return {str(name): str(value) for name, value in tiles.execute("SELECT name, value FROM metadata")}


def joined(first: Metadata, second: Metadata) -> Metadata:
    """The metadata of two tile sets in one."""
    formats = first.get("format"), second.get("format")
    if formats[0] != formats[1]:
        raise NotJoinedError(f"the formats differ: {formats[0]} and {formats[1]}")
    made = {**second, **first}
    for name, choose in (("minzoom", min), ("maxzoom", max)):
        if name in first and name in second:
            made[name] = str(choose(int(first[name]), int(second[name])))
    if "bounds" in first and "bounds" in second:
        corners = zip(*(map(float, each["bounds"].split(",")) for each in (first, second)), strict=True)
        west, south, east, north = corners
        made["bounds"] = f"{min(west)},{min(south)},{max(east)},{max(north)}"
        made.pop("center", None)
    if "json" in first and "json" in second:
        made["json"] = json.dumps(with_all_layers(json.loads(first["json"]), json.loads(second["json"])))
    return made


def with_all_layers(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The description of the vector layers, each once, with the fields that it has anywhere."""
    layers: dict[str, dict[str, Any]] = {}
    for layer in [*first.get("vector_layers", []), *second.get("vector_layers", [])]:
        known = layers.setdefault(layer["id"], dict(layer))
        known["fields"] = known.get("fields", {}) | {
            name: kind
            for name, kind in layer.get("fields", {}).items()
            if name not in known.get("fields", {})
        }
        for name, choose in (("minzoom", min), ("maxzoom", max)):
            if name in known and name in layer:
                known[name] = choose(known[name], layer[name])
    kept = {name: value for name, value in first.items() if name != "tilestats"}  # they count one input's
    return {**kept, "vector_layers": list(layers.values())}


def clashes(made: sqlite3.Connection, tiles: sqlite3.Connection) -> Iterator[tuple[int, int, int]]:
    """Copy the tiles; gives the places at which there is another one already."""
    add = "INSERT OR IGNORE INTO tiles VALUES (?, ?, ?, ?)"
    for row in tiles.execute("SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles"):
        if not made.execute(add, row).rowcount:
            (there,) = made.execute(f"SELECT tile_data FROM tiles WHERE {PLACE}", row[:3]).fetchone()  # noqa: S608 - a constant
            if there != row[3]:
                yield row[:3]


def main(output: str, *inputs: str) -> None:
    """Join the inputs into the output."""
    made = sqlite3.connect(output)
    made.executescript(SCHEMA)
    told: Metadata | None = None
    for path in inputs:
        tiles = opened(path)
        told = metadata_of(tiles) if told is None else joined(told, metadata_of(tiles))
        for zoom, column, row in clashes(made, tiles):
            raise NotJoinedError(f"{path} has another tile at zoom {zoom}, column {column}, row {row}")
        tiles.close()
    made.executemany("INSERT INTO metadata VALUES (?, ?)", (told or {}).items())
    made.commit()
    made.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (sqlite3.Error, NotJoinedError, ValueError, KeyError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
