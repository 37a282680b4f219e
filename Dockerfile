# The worker's image. Plain Dockerfile syntax, so that the classic builder, BuildKit and buildah build it alike.
# BASE names the base image: by a tag, or where a release builds by `TAG@DIGEST`.
ARG BASE=python:3.11-slim-bookworm
ARG VERSION=0.2.0

FROM ${BASE} AS build

# crcmod comes as source only; built without a compiler it is pure Python and 40 times slower.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*

COPY requirements-build.txt requirements.txt /build/
# Without build isolation the packages that come as source are built by the setuptools that was installed by its hash;
# without what a linker and a debugger are told of the folder in which that happens, two builds give the same bytes.
# What the worker never asks for is a third of all that is installed: symbols for debuggers, tests, the elliptic curves of
# a package that oss2 imports for client-side encryption, and by what rich colours source code and Markdown.
RUN pip install --no-cache-dir --require-hashes -r /build/requirements-build.txt \
 && CFLAGS=-g0 LDFLAGS=-Wl,--build-id=none pip install --no-cache-dir --no-compile --no-build-isolation --use-pep517 --require-hashes \
      --prefix=/image/usr/local -r /build/requirements.txt \
 && cd /image/usr/local/lib/python3.11/site-packages \
 && find . -depth -type d \( -name tests -o -name test -o -name SelfTest \) -exec rm -r {} + \
 && rm -f Crypto/PublicKey/_ec_nat* Crypto/PublicKey/_mlkem* \
 && rm -r pygments* markdown_it* mdurl* \
 && find . -name "*.so" -exec strip --strip-unneeded {} +

COPY worker /image/opt/aggregation
COPY recipes /build/recipes
# COPY keeps the modes of the checkout: with umask 077 nobody but its owner could read the scripts.
RUN chmod -R u=rwX,go=rX /image/opt /build/recipes


# All that the image has above its base, in one tree, the same for two builds of one commit.
FROM ${BASE} AS furnished

ARG VERSION
ARG SOURCE_DATE_EPOCH=0
COPY --from=build /image /image
COPY image /image/usr/local/share/sbom
RUN site=/image/usr/local/lib/python3.11/site-packages \
 && cd /image/usr/local/share/sbom \
 && chmod 755 . && chmod 644 sbom.py \
 && PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 PYTHONPATH=$site python3 compile.py /image \
 && rm compile.py \
 && python3 sbom.py /image/usr/local/share/sbom/aggregation.cdx.json $site /usr/local/lib/python3.11/site-packages \
 && find /image -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +


# What the image and the one with tools share. What a build says of its commit stands below the packages of each, so
# that these are not installed anew for every commit.
FROM ${BASE} AS base

LABEL org.opencontainers.image.title="aggregation worker" \
      org.opencontainers.image.description="Joins numbered files, level by level, on a volume or an object store" \
      org.opencontainers.image.licenses="Apache-2.0"

# `python3 process.py` finds the scripts in the working directory, `process.py` alone finds them on the path.
ENV PATH=/opt/aggregation:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1

# No USER: the tutorial's pods set none and its volume is mounted as root's, where no other user may write. Whoever
# says `--user` or `securityContext`, as all of this project's manifests do, gets any user, root needed for nothing.
CMD ["python3", "-m", "aggregation"]


FROM base AS worker

COPY --from=furnished /image/ /
WORKDIR /opt/aggregation

ARG BASE
ARG BASE_DIGEST
ARG VERSION
ARG REVISION
ARG CREATED
ENV AGGREGATION_REVISION=${REVISION}
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"


# The worker with the programs of docs/recipes.md, all of them Debian's own: `docker build --target tools .`
FROM base AS tools

RUN apt-get update \
 && apt-get install -y --no-install-recommends ffmpeg gdal-bin osmium-tool \
 && rm -rf /var/lib/apt/lists/*

COPY --from=furnished /image/ /
COPY --from=build /build/recipes /opt/aggregation/recipes
WORKDIR /opt/aggregation
ENV PATH=/opt/aggregation:/opt/aggregation/recipes:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin

ARG BASE
ARG BASE_DIGEST
ARG VERSION
ARG REVISION
ARG CREATED
ARG SOURCE_DATE_EPOCH
ENV AGGREGATION_REVISION=${REVISION}
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"
# The list of packages anew: it has the programs too.
RUN python3 /usr/local/share/sbom/sbom.py /usr/local/share/sbom/aggregation.cdx.json


# The image. It stands last because a build without --target makes the last one; with --target worker the classic
# builder leaves the tools out too.
FROM worker
