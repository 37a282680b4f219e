"""The operations of the service: which function carries out which."""

from oss_server.listings import Listings
from oss_server.multipart import Multiparts
from oss_server.objects import check_key
from oss_server.requests import Request, Response
from oss_server.settings import Settings
from oss_server.single import Singles
from oss_server.store import Store


class Service:
    """Carries out operations on a store. Signatures are checked before."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._handlers = {
            name: handler
            for operations in (Listings, Singles, Multiparts)
            for name, handler in operations(store, settings).handlers.items()
        }

    def carry_out(self, request: Request) -> Response:
        """Do what the request asks for.

        Raises:
            OssError: The answer is an error.
        """
        if request.key:
            check_key(request.key)
        return self._handlers[request.operation](request)
