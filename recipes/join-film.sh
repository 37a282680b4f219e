#!/bin/sh
# Joins the segments of a film, in order: join-film.sh [--last] OUTPUT SEGMENT...
#
# Pictures are copied as they are. The sound of each segment is decoded, cut or filled up to the length of its pictures,
# and kept as PCM, so that joining what was joined moves nothing; --last encodes it as AAC, once. (Encoded sound does not
# end where the pictures do, because its frames have a length of their own: joined as it is it drifts.)
# Ends with 1 if a segment cannot be read to its end, if some have sound and others none, or if pictures are missing.
set -eu
sound=pcm_s16le
if [ "$1" = --last ]; then
  sound=aac
  shift
fi
output=$1
shift
work=$(mktemp -d "$output.XXXXXX")
trap 'rm -rf "$work"' EXIT

look() {  # ENTRIES FILE [OPTION...]: what ffprobe says of a file
  entries=$1 file=$2
  shift 2
  ffprobe -v error "$@" -show_entries "$entries" -of csv=p=0 "file:$file"
}

wanted=0
number=0
kinds=
for segment in "$@"; do
  here=$(look stream=codec_type "$segment" | sort -u)
  if [ "${kinds:=$here}" != "$here" ]; then
    echo "join-film.sh: $segment has" $here "and the first segment" $kinds >&2
    exit 1
  fi
  count=$(look stream=nb_read_packets "$segment" -count_packets -select_streams v:0)
  seconds=$(look stream=duration "$segment" -select_streams v:0)
  ffmpeg -v error -xerror -nostdin -i "file:$segment" -map 0:v:0 -map '0:a:0?' -c:v copy -c:a pcm_s16le \
    -filter:a "apad,atrim=end=$seconds" -f mov "file:$work/$number.mov"
  printf 'file %s.mov\nduration %s\n' "$number" "$seconds" >> "$work/list"
  wanted=$((wanted + count))
  number=$((number + 1))
done

ffmpeg -v error -xerror -nostdin -f concat -i "file:$work/list" -map 0:v:0 -map '0:a:0?' \
  -c:v copy -c:a "$sound" -f mov "file:$work/film"
got=$(look stream=nb_read_packets "$work/film" -count_packets -select_streams v:0)
if [ "$got" != "$wanted" ]; then
  echo "join-film.sh: the film has $got pictures, its segments have $wanted" >&2
  exit 1
fi
mv "$work/film" "$output"
