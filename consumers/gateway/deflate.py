"""permessage-deflate (RFC 7692): messages compressed once for all readers who are sent the same.

A client keeps what it was sent compressed (section 7.2.3.2: the window is taken over), so a message may refer to those
before it. Readers who have had the same messages share one compressor; what one of them is sent otherwise goes in whole
frames, which leave the window as it is, or begins with a compressor of its own, which refers to nothing before.
"""

import zlib
from collections.abc import Iterable, Sequence

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.typing import ExtensionParameter

from .frames import frame_of, head_length

WINDOW_BITS = 12
"""4 KiB, which Python's `websockets` asks for, and which holds the last events; every other client has more."""

_LEVEL = 4
_MEMORY_LEVEL = 5
_COMPRESSED_TEXT = 0xC1  # RFC 7692, section 6: RSV1 on the first frame of the message
_END = b"\x00\x00\xff\xff"  # section 7.2.1: left out at the end of each message


class Context:
    """A compressor, and what it has compressed last."""

    __slots__ = ("_compressor",)

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -WINDOW_BITS, _MEMORY_LEVEL)

    def deflate(self, frames: Iterable[bytes]) -> bytes:
        """The next text frames, compressed, as bytes of the stream."""
        return b"".join([self._deflated(frame) for frame in frames])

    def _deflated(self, frame: bytes) -> bytes:
        message = memoryview(frame)[head_length(frame) :]
        data = self._compressor.compress(message) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return frame_of(_COMPRESSED_TEXT, data[: -len(_END)])


class SharedDeflate(PerMessageDeflate):
    """The extension as one connection has it; it keeps no state for it.

    `is_usable` says whether what a Context makes may be sent: the client takes over its window, and that is large
    enough. A client who does not is sent whole frames, as the extension allows for each message.
    """

    def __init__(self, negotiated: PerMessageDeflate) -> None:
        super().__init__(
            remote_no_context_takeover=negotiated.remote_no_context_takeover,
            local_no_context_takeover=True,  # what we send is compressed elsewhere
            remote_max_window_bits=negotiated.remote_max_window_bits,
            local_max_window_bits=negotiated.local_max_window_bits,
        )
        self.is_usable = not negotiated.local_no_context_takeover and negotiated.local_max_window_bits >= WINDOW_BITS


class SharedDeflateFactory(ServerPerMessageDeflateFactory):
    """Negotiates the extension."""

    def __init__(self) -> None:
        super().__init__(
            client_no_context_takeover=True,
            server_max_window_bits=WINDOW_BITS,
            client_max_window_bits=WINDOW_BITS,
            compress_settings={"memLevel": 1},
        )

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """See ServerExtensionFactory."""
        answer, negotiated = super().process_request_params(params, accepted_extensions)
        return answer, SharedDeflate(negotiated)
