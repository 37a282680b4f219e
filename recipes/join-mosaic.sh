#!/bin/sh
# Joins raster tiles into one cloud-optimised GeoTIFF: join-mosaic.sh OUTPUT LIST [OPTION...]
#
# LIST is a file that names the tiles, one a line; later ones lie on earlier ones. OPTIONs are gdal_translate's own, for
# example -co COMPRESS=ZSTD; without one COMPRESS=DEFLATE is taken.
# Ends with 1 if a tile cannot be read to its end, or has another projection than the first.
set -eu
output=$1
list=$2
shift 2
[ $# -gt 0 ] || set -- -co COMPRESS=DEFLATE
trap 'rm -f "$output.vrt"' EXIT
gdalbuildvrt -q -strict -input_file_list "$list" "$output.vrt"
gdal_translate -q -strict -of COG "$@" "$output.vrt" "$output"
