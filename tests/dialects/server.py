"""A server that answers as those of OpenAI, Ollama, Hugging Face, Cohere, Google and Triton do, always the same.

Usage: server.py

Says `listening on http://ADDR` and `grpc on ADDR`, and serves until it is ended.
"""

import json
import struct
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from tritonclient.grpc import service_pb2

WORDS = ["The", " tide", " comes", " in."]


def sse(events, named=False):
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        yield f"{name}data: {json.dumps(event)}\n\n"


def responses(request):
    usage = {
        "input_tokens": 21,
        "input_tokens_details": {"cached_tokens": 16},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 25,
    }
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "".join(WORDS), "annotations": []}],
    }
    answer = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": request["model"],
        "status": "completed",
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }
    if not request.get("stream"):
        return "application/json", [json.dumps(answer)]
    deltas = [
        {
            "type": "response.output_text.delta",
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": word,
            "logprobs": [],
            "sequence_number": place,
        }
        for place, word in enumerate(WORDS, 1)
    ]
    begun = {**answer, "status": "in_progress", "output": [], "usage": None}
    events = [
        {"type": "response.created", "response": begun, "sequence_number": 0},
        *deltas,
        {"type": "response.completed", "response": answer, "sequence_number": 9},
    ]
    return "text/event-stream", sse(events, named=True)


def embeddings(request):
    inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
    data = [{"object": "embedding", "index": place, "embedding": [0.5, -0.25]} for place, _ in enumerate(inputs)]
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    return "application/json", [json.dumps({"object": "list", "data": data, "model": request["model"], "usage": usage})]


def ollama(said):
    """Lines in which `said` puts a word."""

    def answer(request):
        end = {
            "model": request["model"],
            "created_at": "2026-01-01T00:00:00Z",
            "done": True,
            "done_reason": "stop",
            "total_duration": 5,
            "prompt_eval_count": 17,
            "eval_count": 4,
        }
        if request.get("stream") is False:
            return "application/json", [json.dumps({**end, **said("".join(WORDS))})]
        lines = [{"model": request["model"], "created_at": "2026-01-01T00:00:00Z", "done": False, **said(w)} for w in WORDS]
        return "application/x-ndjson", (json.dumps(line) + "\n" for line in [*lines, {**end, **said("")}])

    return answer


def ollama_embed(request):
    answer = {"model": request["model"], "embeddings": [[0.5, -0.25]], "total_duration": 5, "prompt_eval_count": 6}
    return "application/json", [json.dumps(answer)]


def tgi(request):
    details = {"finish_reason": "length", "generated_tokens": 4, "seed": None, "input_length": 9, "prefill": [], "tokens": []}
    if not request.get("stream"):
        return "application/json", [json.dumps([{"generated_text": "".join(WORDS), "details": details}])]
    last = len(WORDS) - 1
    events = [
        {
            "index": place + 1,
            "token": {"id": place, "text": word, "logprob": -0.5, "special": False},
            "generated_text": "".join(WORDS) if place == last else None,
            "details": details if place == last else None,
        }
        for place, word in enumerate(WORDS)
    ]
    return "text/event-stream", (f"data:{json.dumps(event)}\n\n" for event in events)


def cohere(request):
    usage = {"billed_units": {"input_tokens": 5, "output_tokens": 4}, "tokens": {"input_tokens": 71, "output_tokens": 4}}
    if not request.get("stream"):
        message = {"role": "assistant", "content": [{"type": "text", "text": "".join(WORDS)}]}
        return "application/json", [json.dumps({"id": "c", "finish_reason": "COMPLETE", "message": message, "usage": usage})]
    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    events = [
        {"type": "message-start", "id": "c", "delta": {"message": start}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        *({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": word}}}} for word in WORDS),
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
    ]
    return "text/event-stream", sse(events, named=True)


def gemini(streams):
    def answer(_):
        def piece(text, usage, **end):
            candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **end}
            return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "g"}

        def usage(count):
            return {"promptTokenCount": 13, "candidatesTokenCount": count, "totalTokenCount": 13 + count}

        if not streams:
            return "application/json", [json.dumps(piece("".join(WORDS), usage(4), finishReason="STOP"))]
        pieces = [piece(word, usage(place)) for place, word in enumerate(WORDS[:-1], 1)]
        return "text/event-stream", sse([*pieces, piece(WORDS[-1], usage(4), finishReason="STOP")])

    return answer


POSTS = {
    "/v1/responses": responses,
    "/v1/embeddings": embeddings,
    "/api/generate": ollama(lambda word: {"response": word}),
    "/api/chat": ollama(lambda word: {"message": {"role": "assistant", "content": word}}),
    "/api/embed": ollama_embed,
    "/": tgi,
    "/generate": tgi,
    "/generate_stream": lambda request: tgi({**request, "stream": True}),
    "/v2/chat": cohere,
    ":generateContent": gemini(False),
    ":streamGenerateContent": gemini(True),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        path = self.path.split("?")[0]
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if path.endswith("/infer"):
            return self.infer(body)
        _, colon, verb = path.partition(":")
        kind, pieces = POSTS[colon + verb or path](json.loads(body))
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            data = piece.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def infer(self, _):
        """The sum of nothing: four zeros in binary behind their description."""
        data = struct.pack("<4i", 0, 0, 0, 0)
        output = {"name": "OUT", "datatype": "INT32", "shape": [1, 4], "parameters": {"binary_data_size": len(data)}}
        head = json.dumps({"model_name": "adder", "model_version": "1", "outputs": [output]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("Inference-Header-Content-Length", str(len(head)))
        self.send_header("content-length", str(len(head) + len(data)))
        self.end_headers()
        self.wfile.write(head + data)

    def log_message(self, *_):
        pass


def model_infer(request, context):
    if request.model_name != "adder":
        context.abort(grpc.StatusCode.NOT_FOUND, "there is no such model")
    answer = service_pb2.ModelInferResponse(model_name="adder", model_version="1")
    output = answer.outputs.add()
    output.name, output.datatype = "OUT", "INT32"
    output.shape.extend([1, 4])
    answer.raw_output_contents.append(struct.pack("<4i", 0, 0, 0, 0))
    return answer


def model_stream_infer(requests, context):
    for request in requests:
        for _ in range(2):
            yield service_pb2.ModelStreamInferResponse(infer_response=model_infer(request, context))


def grpc_server():
    server = grpc.server(futures.ThreadPoolExecutor(4))
    read, write = service_pb2.ModelInferRequest.FromString, lambda message: message.SerializeToString()
    methods = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(model_infer, read, write),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(model_stream_infer, read, write),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


if __name__ == "__main__":
    calls, port = grpc_server()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"grpc on http://127.0.0.1:{port} ", file=sys.stderr, flush=True)
    print(f"listening on http://127.0.0.1:{server.server_address[1]}", file=sys.stderr, flush=True)
    threading.Event().wait()
