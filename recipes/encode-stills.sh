#!/bin/sh
# Makes a film of stills: encode-stills.sh [--rate N] [--sound FILE] LEVEL OUTPUT INPUT...
#
# The inputs of level 1 are stills, which are encoded; those above are films, which are joined without encoding again.
# --rate is pictures a second (25). --sound, for the last merge, lays a file's sound under the whole film.
# Ends with 1 if the film has not as many pictures as its inputs.
set -eu
rate=25
sound=
while :; do
  case $1 in
    --rate) rate=$2 ;;
    --sound) sound=$2 ;;
    *) break ;;
  esac
  shift 2
done
level=$1
output=$2
shift 2
work=$(mktemp -d "$output.XXXXXX")
trap 'rm -rf "$work"' EXIT

pictures() {  # FILE: how many pictures a film has
  ffprobe -v error -select_streams v:0 -count_packets -show_entries stream=nb_read_packets -of csv=p=0 "file:$1"
}

if [ "$level" = 1 ]; then
  wanted=$#
  cat -- "$@" > "$work/stills"
  ffmpeg -v error -xerror -nostdin -f image2pipe -framerate "$rate" -i "file:$work/stills" \
    -c:v libx264 -crf 18 -pix_fmt yuv420p -threads 2 -f mov "file:$work/film"
else
  wanted=0
  number=0
  for film in "$@"; do
    count=$(pictures "$film")
    ln -s "$film" "$work/$number.mov"
    printf 'file %s.mov\nduration %s\n' "$number" "$(awk "BEGIN { printf \"%.6f\", $count / $rate }")" >> "$work/list"
    wanted=$((wanted + count))
    number=$((number + 1))
  done
  ffmpeg -v error -xerror -nostdin -f concat -i "file:$work/list" -map 0:v:0 -c copy -f mov "file:$work/film"
fi
got=$(pictures "$work/film")
if [ "$got" != "$wanted" ]; then
  echo "encode-stills.sh: the film has $got pictures, its inputs have $wanted" >&2
  exit 1
fi
if [ -n "$sound" ]; then
  ffmpeg -v error -xerror -nostdin -i "file:$work/film" -i "file:$sound" -map 0:v:0 -map 1:a:0 -c:v copy -c:a aac \
    -filter:a apad -shortest -f mov "file:$work/whole"
  mv "$work/whole" "$work/film"
fi
mv "$work/film" "$output"
