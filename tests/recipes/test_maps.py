"""The recipes for maps: raster tiles, OpenStreetMap, vector tiles."""

import json
import random
import re
import sqlite3
from pathlib import Path

import pytest

from scripts import write_level
from tools_image import Container, Recipe

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]

# Raster tiles

SIDE, COLUMNS, TILES = 16, 3, 10
"""Tiles lie in rows, to and fro, so that the rectangles of two groups overlap; the last row is not full."""
GRID = """ncols {side}
nrows {side}
xllcorner {x}
yllcorner {y}
cellsize 1
NODATA_value 0
"""


def tiles(container: Container, recipe: Recipe) -> list[list[int]]:
    """Make the tiles; returns the rows of the picture that they make."""
    chance = random.Random(7)
    rows = -(-TILES // COLUMNS)
    whole = [[0] * COLUMNS * SIDE for _ in range(rows * SIDE)]
    for number in range(TILES):
        row, column = divmod(number, COLUMNS)
        column = COLUMNS - 1 - column if row % 2 else column
        pixels = [[chance.randrange(1, 256) for _ in range(SIDE)] for _ in range(SIDE)]
        for y, line in enumerate(pixels):
            whole[row * SIDE + y][column * SIDE : (column + 1) * SIDE] = line
        text = GRID.format(side=SIDE, x=column * SIDE, y=(rows - 1 - row) * SIDE)
        text += "".join(" ".join(map(str, line)) + "\n" for line in pixels)
        (recipe.root / "l1" / f"{number}.asc").write_text(text)
    container.shell(
        'cd "$1"; for name in *.asc; do gdal_translate -q -ot Byte -a_srs EPSG:3857 -co COMPRESS=DEFLATE '
        '"$name" "${name%.asc}.tif"; rm "$name"; done',
        container.inside(recipe.root / "l1"),
    )
    return whole


def pixels(container: Container, raster: Path) -> list[list[int]]:
    """The rows of a raster."""
    script = 'gdal_translate -q -of AAIGrid "$1" /tmp/grid.asc; sed 1,6d /tmp/grid.asc'
    text = container.shell(script, container.inside(raster))
    return [
        [int(word) for word in line.split()] for line in text.splitlines() if not line.startswith("NODATA")
    ]


def test_a_mosaic(container: Container) -> None:
    """Tree, flat merge and objects have the very pixels of the tiles; the result is cloud-optimised."""
    recipe = container.recipe("Raster tiles into a mosaic")
    whole = tiles(container, recipe)
    made = container.make(recipe)
    assert "LAYOUT=COG" in container.run("gdalinfo", container.inside(made))
    assert pixels(container, made) == whole
    assert pixels(container, container.make_flat(recipe, TILES)) == whole
    assert pixels(container, container.make_on_oss(recipe)) == whole
    tile = recipe.path(3).read_bytes()
    assert "3.tif" in container.refused(recipe, 3, b"no tile")
    assert "3.tif" in container.refused(recipe, 3, tile[: len(tile) // 2])
    middle = len(tile) // 2
    assert "3.tif" in container.refused(recipe, 3, tile[:middle] + b"\xff" * 50 + tile[middle + 50 :])
    container.shell('gdal_translate -q -a_srs EPSG:4326 "$1" other.tif', container.inside(recipe.path(3)))
    other = (container.volume / "other.tif").read_bytes()
    assert "heterogeneous projection" in container.refused(recipe, 3, other)


def test_an_index(container: Container) -> None:
    """The index shows the tiles' pixels and copies none; a tile that is none is an error."""
    recipe = container.recipe("An index of raster tiles")
    whole = tiles(container, recipe)
    recipe.words[1] = str(TILES)
    made = container.make(recipe)
    assert made.name == "mosaic.vrt"
    assert pixels(container, made) == whole
    assert made.read_text().count("<SourceFilename") == TILES
    assert "3.tif" in container.refused(recipe, 3, b"no tile")


# OpenStreetMap

EXTRACTS = 6


def extract(number: int) -> str:
    """An extract in OSM's XML: nodes and a way of its own, and nodes that it shares with its neighbours."""
    own = range(10 * number, 10 * number + 12)  # the last two are the next extract's first two
    stamp = 'version="1" timestamp="2025-01-01T00:00:00Z"'
    nodes = "".join(f'<node id="{n + 1}" {stamp} lat="{n / 100}" lon="{n / 50}"/>' for n in own)
    references = "".join(f'<nd ref="{n + 1}"/>' for n in own)
    way = f'<way id="{number + 1}" {stamp}>{references}<tag k="highway" v="path"/></way>'
    return f'<osm version="0.6" generator="a test">{nodes}{way}</osm>'


def test_a_map(container: Container) -> None:
    """Extracts become one map with each node and way once; tree, flat merge and objects hold the same."""
    recipe = container.recipe("Extracts of a map")
    write_level(recipe.root, 1, [extract(n).encode() for n in range(EXTRACTS)], ".osm")
    container.shell(
        'cd "$1"; for name in *.osm; do osmium cat "$name" -o "$name.pbf"; rm "$name"; done',
        container.inside(recipe.root / "l1"),
    )
    wanted = [f"n{n + 1}" for n in range(10 * EXTRACTS + 2)] + [f"w{n + 1}" for n in range(EXTRACTS)]
    held = []
    for made in (
        container.make(recipe),
        container.make_flat(recipe, EXTRACTS),
        container.make_on_oss(recipe),
    ):
        text = container.run("osmium", "cat", container.inside(made), "-f", "opl", "-o", "-")
        assert [line.split()[0] for line in text.splitlines()] == wanted
        held.append(text)
    assert held[0] == held[1] == held[2]
    part = recipe.path(3).read_bytes()
    container.refused(recipe, 3, b"no map")
    container.refused(recipe, 3, part[: len(part) // 2])
    container.refused(recipe, 3, b"")


# Vector tiles

REGIONS = 6
"""One to a tile of zoom 4, along the equator."""


def region(number: int) -> str:
    """A place, whose data have a field of their own."""
    longitude = -180 + 22.5 * number + 11
    point = {"type": "Point", "coordinates": [longitude, 10]}
    properties = {"name": f"place {number}", f"field{number % 3}": number}
    return json.dumps(
        {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "properties": properties, "geometry": point}],
        }
    )


def content(path: Path) -> tuple[list[tuple[int, int, int, bytes]], dict[str, str]]:
    """The tiles and the metadata of a tile set."""
    tiles = sqlite3.connect(path)
    rows = tiles.execute(
        "SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles ORDER BY 1, 2, 3"
    ).fetchall()
    metadata = dict(tiles.execute("SELECT name, value FROM metadata"))
    tiles.close()
    return rows, metadata


def test_vector_tiles(container: Container) -> None:
    """Each tile is there once, as it was, and GDAL reads all places; a clash is an error."""
    recipe = container.recipe("Vector tiles")
    write_level(recipe.root, 1, [region(n).encode() for n in range(REGIONS)], ".geojson")
    container.shell(
        'cd "$1"; for name in *.geojson; do ogr2ogr -f MBTILES "${name%.geojson}.mbtiles" "$name" '
        '-nln places -dsco MINZOOM=4 -dsco MAXZOOM=5; rm "$name"; done; rm -f *.temp.db',
        container.inside(recipe.root / "l1"),
    )
    wanted = sorted(row for n in range(REGIONS) for row in content(recipe.path(n))[0])
    results = [container.make(recipe), container.make_flat(recipe, REGIONS), container.make_on_oss(recipe)]
    found = [content(made) for made in results]
    assert [rows for rows, _ in found] == [wanted] * 3
    metadata = found[0][1]
    assert [each for _, each in found] == [metadata] * 3
    assert (metadata["minzoom"], metadata["maxzoom"], metadata["format"]) == ("4", "5", "pbf")
    (layer,) = json.loads(metadata["json"])["vector_layers"]
    assert layer["fields"].keys() == {"name", "field0", "field1", "field2"}
    places = container.run("ogrinfo", "-ro", "-al", container.inside(results[0]))
    assert set(re.findall(r"= (place \d+)", places)) == {f"place {n}" for n in range(REGIONS)}
    part = recipe.path(3).read_bytes()
    assert "3.mbtiles is no tile set" in container.refused(recipe, 3, b"no tile set")
    assert "3.mbtiles is no tile set" in container.refused(recipe, 3, b"")
    assert "3.mbtiles" in container.refused(recipe, 3, part[: len(part) // 2])
    assert "3.mbtiles has another tile at zoom 4" in container.refused(recipe, 3, other_place(recipe.path(2)))


def other_place(path: Path) -> bytes:
    """The tile set with other bytes in its tiles."""
    tiles = sqlite3.connect(path)
    copy = sqlite3.connect(":memory:")
    tiles.backup(copy)
    tiles.close()
    (name,) = copy.execute("SELECT type FROM sqlite_master WHERE name = 'tiles'").fetchone()
    assert name == "table"
    copy.execute("UPDATE tiles SET tile_data = x'00'")
    copy.commit()
    return copy.serialize()
