"""The service's errors: status, code and the XML document that clients parse."""

import base64
from collections.abc import Mapping
from xml.sax.saxutils import escape


class OssError(Exception):
    """An answer other than success.

    Attributes:
        status: The HTTP status.
        code: The service's code, such as `NoSuchKey`: what clients decide on.
        message: One sentence for people.
        headers: Extra response headers, such as `x-oss-next-append-position`.
        details: Extra elements of the XML document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **details: str,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message or code
        self.headers = dict(headers or {})
        self.details = details

    def document(self, request_id: str, host: str) -> bytes:
        """Return the error as XML."""
        elements = {
            "Code": self.code,
            "Message": self.message,
            "RequestId": request_id,
            "HostId": host,
            **self.details,
        }
        inner = "".join(f"  <{name}>{escape(text)}</{name}>\n" for name, text in elements.items())
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n{inner}</Error>\n'.encode()

    def header(self, request_id: str, host: str) -> str:
        """Return the value of `x-oss-err`, which carries the document where HEAD allows no body."""
        return base64.b64encode(self.document(request_id, host)).decode("ascii")


def no_such_bucket(bucket: str) -> OssError:
    """404: the bucket does not exist."""
    return OssError(404, "NoSuchBucket", "The specified bucket does not exist.", BucketName=bucket)


def no_such_key(key: str) -> OssError:
    """404: the object does not exist."""
    return OssError(404, "NoSuchKey", "The specified key does not exist.", Key=key)


def no_such_upload(upload_id: str) -> OssError:
    """404: the multipart upload was never started, is complete, or is aborted."""
    message = "The specified upload does not exist. The upload ID may be invalid, or the upload is over."
    return OssError(404, "NoSuchUpload", message, UploadId=upload_id)


def invalid_argument(message: str, name: str, value: str) -> OssError:
    """400: a parameter or header has a value that the service does not accept."""
    return OssError(400, "InvalidArgument", message, ArgumentName=name, ArgumentValue=value)


def entity_too_large(size: int, limit: int) -> OssError:
    """400: a body, a part or a copy is above its limit, both in bytes."""
    message = "Your proposed upload exceeds the maximum allowed size."
    return OssError(400, "EntityTooLarge", message, MaxSizeAllowed=str(limit), ProposedSize=str(size))


def precondition_failed(condition: str) -> OssError:
    """412: an `if-…` header does not hold."""
    message = "At least one of the pre-conditions you specified did not hold."
    return OssError(412, "PreconditionFailed", message, Condition=condition)


def malformed_xml() -> OssError:
    """400: the body is not the XML document that the operation takes."""
    return OssError(400, "MalformedXML", "The XML you provided was not well-formed.")


def too_many_requests() -> OssError:
    """Return the error for a request beyond the limit of requests a second."""
    return OssError(503, "TotalQpsLimitExceeded", "Please reduce your request rate.")


def not_implemented(what: str) -> OssError:
    """400: this server does not know the operation."""
    return OssError(400, "NotImplemented", f"This server does not implement {what}.")
