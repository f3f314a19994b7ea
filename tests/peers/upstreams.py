"""Upstreams of h11 and h2 that remember which requests reached them whole."""

import contextlib

import h11
import h2.config
import h2.connection
import h2.events
import h2.exceptions

from recorder import listen


class Upstream:
    """Echoes what it was asked; `whole` holds each request that came to its end, as (headers, body)."""

    def __init__(self, version):
        self.whole = []
        self.broken = []
        self.port = listen(self.http1 if version == 1 else self.http2)
        self.url = f"http://127.0.0.1:{self.port}"

    def http1(self, connection):
        peer = h11.Connection(h11.SERVER)
        request, body = None, b""
        while True:
            try:
                event = peer.next_event()
            except h11.RemoteProtocolError as error:
                self.broken.append(str(error))
                return
            if event is h11.NEED_DATA:
                peer.receive_data(connection.recv(65536))
            elif isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                head = [(b":method", request.method), (b":path", request.target), *request.headers.raw_items()]
                self.whole.append((head, body + repr(list(event.headers)).encode() if event.headers else body))
                answer = b"seen"
                for part in (
                    h11.Response(status_code=200, headers=[("Content-Length", str(len(answer)))], reason=b"OK"),
                    h11.Data(data=b"" if request.method == b"HEAD" else answer),
                    h11.EndOfMessage(),
                ):
                    connection.sendall(peer.send(part) or b"")
                if peer.our_state is h11.MUST_CLOSE:
                    return
                peer.start_next_cycle()
            else:
                return

    def http2(self, connection):
        peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        peer.initiate_connection()
        connection.sendall(peer.data_to_send())
        requests = {}
        while data := connection.recv(65536):
            try:
                events = peer.receive_data(data)
            except h2.exceptions.ProtocolError as error:
                self.broken.append(str(error))
                return
            for event in events:
                stream = getattr(event, "stream_id", None)
                if isinstance(event, h2.events.RequestReceived):
                    requests[stream] = (event.headers, b"")
                elif isinstance(event, h2.events.DataReceived):
                    head, body = requests[stream]
                    requests[stream] = (head, body + event.data)
                    peer.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamEnded):
                    self.whole.append(requests.pop(stream))
                    # It may have been given up behind its end.
                    with contextlib.suppress(h2.exceptions.ProtocolError):
                        peer.send_headers(stream, [(":status", "200"), ("content-type", "text/plain")])
                        peer.send_data(stream, b"seen", end_stream=True)
            connection.sendall(peer.data_to_send())
