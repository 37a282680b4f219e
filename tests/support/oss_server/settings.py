"""The server's switches and limits; a test changes them while the server runs."""

from dataclasses import dataclass

GB = 1 << 30


@dataclass
class Settings:
    """Everything that may be turned.

    Attributes:
        latency: Seconds added to every request.
        bandwidth: Bytes a second of object data, all connections and both directions together; None: no
            limit.
        requests_per_second: Requests answered in a second, others get 503 TotalQpsLimitExceeded; None: all.
        crc_on_copies: Whether objects made by CopyObject or holding copied parts have a CRC64. The service's
            documents say that they may have none.
        crc_in_list_parts: Whether ListParts tells each part's CRC64.
        copy_appendable: Whether UploadPartCopy accepts an Appendable source; older documents say that it does
            not.
        clock_offset: Seconds by which the server's clock is ahead of this machine's.
        credential_seconds: Lifetime of the temporary credentials that `OssServer.issue_credentials` returns.
        bound_bucket: The bucket that every host name is bound to, as by a CNAME; empty: none.
        max_put: Largest PutObject, and largest object by AppendObject, in bytes.
        max_part: Largest part in bytes.
        max_copy: Largest CopyObject in bytes.
        min_part: Smallest part in bytes, the last one excepted; checked by CompleteMultipartUpload.
        max_part_number: Largest part number.
    """

    latency: float = 0.0
    bandwidth: float | None = None
    requests_per_second: float | None = None
    crc_on_copies: bool = True
    crc_in_list_parts: bool = True
    copy_appendable: bool = True
    clock_offset: float = 0.0
    credential_seconds: float = 3600.0
    bound_bucket: str = ""
    max_put: int = 5 * GB
    max_part: int = 5 * GB
    max_copy: int = 5 * GB
    min_part: int = 102_400
    max_part_number: int = 10_000
