# The worker's image. Plain Dockerfile syntax, so that the classic builder, BuildKit and buildah build it alike.
FROM python:3.11-slim-bookworm AS build

# crcmod comes as source only; built without a compiler it is pure Python and 40 times slower.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*

COPY requirements-build.txt requirements.txt /build/
# Without build isolation the packages that come as source are built by the setuptools that was installed by its hash.
# What the worker never asks for is a third of all that is installed: symbols for debuggers, tests, the elliptic curves of
# a package that oss2 imports for client-side encryption, and by what rich colours source code and Markdown.
RUN pip install --no-cache-dir --require-hashes -r /build/requirements-build.txt \
 && pip install --no-cache-dir --no-compile --no-build-isolation --use-pep517 --require-hashes \
      --prefix=/build/prefix -r /build/requirements.txt \
 && cd /build/prefix/lib/python3.11/site-packages \
 && find . -depth -type d \( -name tests -o -name test -o -name SelfTest \) -exec rm -r {} + \
 && rm -f Crypto/PublicKey/_ec_nat* Crypto/PublicKey/_mlkem* \
 && rm -r pygments* markdown_it* mdurl* \
 && find . -name "*.so" -exec strip --strip-unneeded {} +

COPY worker /build/worker
COPY recipes /build/recipes
# COPY keeps the modes of the checkout: with umask 077 nobody but its owner could read the scripts.
RUN chmod -R u=rwX,go=rX /build/worker /build/recipes


# What the image and the one with tools share, so that the packages below do not depend on the worker.
FROM python:3.11-slim-bookworm AS base

ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="aggregation worker" \
      org.opencontainers.image.description="Joins numbered files, level by level, on a volume or an object store" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"

# `python3 process.py` finds the scripts in the working directory, `process.py` alone finds them on the path.
WORKDIR /opt/aggregation
ENV PATH=/opt/aggregation:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1

# No USER: the tutorial's pods set none and its volume is mounted as root's, where no other user may write. Whoever
# says `--user` or `securityContext`, as all of this project's manifests do, gets any user, root needed for nothing.
CMD ["python3", "-m", "aggregation"]


FROM base AS worker

COPY --from=build /build/prefix /usr/local
COPY --from=build /build/worker /opt/aggregation

# The base image has no compiled standard library, and a read-only root file system never gets one: a fresh pod
# would compile all that it imports, at each start. Compiled here is what the worker's modules import, and no more;
# unchecked, because nothing in an image changes. rich loads its table of wide characters for the first that is not ASCII.
RUN python3 -c "import importlib, pkgutil, py_compile, sys, json, traceback, rich.cells; \
    [importlib.import_module(found.name) for found in pkgutil.walk_packages(['.'])]; \
    rich.cells.cell_len(chr(0x2714)); \
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH; \
    files = [getattr(module, '__file__', None) or '' for module in sys.modules.values()]; \
    [py_compile.compile(file, invalidation_mode=mode) for file in files if file.endswith('.py')]"


# The worker with the programs of docs/recipes.md, all of them Debian's own: `docker build --target tools .`
FROM base AS tools

RUN apt-get update \
 && apt-get install -y --no-install-recommends ffmpeg gdal-bin osmium-tool \
 && rm -rf /var/lib/apt/lists/*

COPY --from=worker /usr/local /usr/local
COPY --from=worker /opt/aggregation /opt/aggregation
COPY --from=build /build/recipes /opt/aggregation/recipes
ENV PATH=/opt/aggregation:/opt/aggregation/recipes:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin


# The image. It stands last because a build without --target makes the last one; with --target worker the classic
# builder leaves the tools out too.
FROM worker
