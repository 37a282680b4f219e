"""What GETs of a small object cost: `gets.py WAY COUNT KEY` prints CPU seconds, imports left out."""

import os
import sys
import time
from collections.abc import Callable

BUCKET = "demo"


def worker() -> Callable[[str], bytes]:
    """As the worker's store reads."""
    from aggregation.location import parse  # noqa: PLC0415 - a way of its own
    from aggregation.stores.opening import open_storage  # noqa: PLC0415 - as above

    storage = open_storage(parse(f"oss://{BUCKET}"))
    return lambda key: storage.read(key, None)


def by_oss2() -> Callable[[str], bytes]:
    """As oss2 reads, without its own CRC64: without its compiled extension that costs more than the GET."""
    import oss2  # noqa: PLC0415 - as above

    endpoint, region = os.environ["OSS_ENDPOINT"], os.environ["OSS_REGION"]
    auth = oss2.ProviderAuthV4(oss2.credentials.EnvironmentVariableCredentialsProvider())
    here = oss2.Bucket(auth, endpoint, BUCKET, region=region, enable_crc=False)
    return lambda key: bytes(here.get_object(key).read())


WAYS = {"worker": worker, "oss2": by_oss2}

if __name__ == "__main__":
    way, count, key = sys.argv[1:]
    get = WAYS[way]()
    get(key)  # which also imports what is imported late
    began = time.process_time()
    for _ in range(int(count)):
        get(key)
    print(time.process_time() - began)
