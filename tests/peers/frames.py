"""HTTP/2 frames as they come."""

from hyperframe.frame import Frame


def frames_from(connection):
    """Every frame until the connection's end."""
    ahead = b""
    while piece := connection.recv(65536):
        ahead += piece
        while len(ahead) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(ahead[:9]))
            if len(ahead) < 9 + length:
                break
            frame.parse_body(memoryview(ahead[9 : 9 + length]))
            ahead = ahead[9 + length :]
            yield frame
