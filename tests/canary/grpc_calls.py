"""KServe's calls over gRPC, with a canary wherever a request or an answer can hold text.

Usage: grpc_calls.py serve CANARY... | grpc_calls.py ask ADDR CANARY...

Serving says `listening on http://ADDR` and goes on until it is ended. Asking prints how many calls it made.
"""

import sys
import threading
from concurrent import futures

import grpc
from tritonclient.grpc import service_pb2

SERVICE = "inference.GRPCInferenceService"
MODE, *CANARIES = sys.argv[1:]
lock = threading.Lock()


def canary():
    with lock:
        return CANARIES.pop()


def metadata():
    """What is not ASCII has a name that ends in -bin, and goes in base64."""
    return (("x-" + canary(), canary()), (canary() + "-bin", canary().encode()))


def tensor(tensor, *contents):
    tensor.name, tensor.datatype = canary(), canary()
    tensor.shape.append(1)
    tensor.parameters[canary()].string_param = canary()
    tensor.contents.bytes_contents.extend(contents)


def request(sort):
    message = service_pb2.ModelInferRequest(model_name=sort, model_version=canary(), id=canary())
    message.parameters[canary()].string_param = canary()
    tensor(message.inputs.add(), canary().encode())
    tensor(message.inputs.add())
    message.outputs.add().name = canary()
    message.raw_input_contents.append(canary().encode())
    return message


def answer():
    message = service_pb2.ModelInferResponse(model_name=canary(), model_version=canary(), id=canary())
    message.parameters[canary()].string_param = canary()
    tensor(message.outputs.add(), canary().encode())
    message.raw_output_contents.append(canary().encode())
    return message


def model_infer(asked, context):
    context.send_initial_metadata(metadata())
    context.set_trailing_metadata((*metadata(), ("grpc-status-details-bin", canary().encode())))
    if dict(context.invocation_metadata()).get("x-wish") == "refused":
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{canary()} of {asked.model_name} at 100 %: {canary()}")
    context.set_details(canary())
    return answer()


def model_stream_infer(requests, context):
    wish = dict(context.invocation_metadata()).get("x-wish")
    context.send_initial_metadata(metadata())
    context.set_trailing_metadata(metadata())
    for _ in requests:
        yield service_pb2.ModelStreamInferResponse(infer_response=answer())
        yield service_pb2.ModelStreamInferResponse(error_message=canary(), infer_response=answer())
        if wish == "broken":
            context.abort(grpc.StatusCode.DATA_LOSS, canary())
        if wish == "held":
            over = threading.Event()
            context.add_callback(over.set)
            over.wait(60)


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(4))
    read, write = service_pb2.ModelInferRequest.FromString, lambda message: message.SerializeToString()
    methods = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(model_infer, read, write),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(model_stream_infer, read, write),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on http://127.0.0.1:{port}", file=sys.stderr, flush=True)
    threading.Event().wait()


def ask(channel):
    write = service_pb2.ModelInferRequest.SerializeToString
    infer = channel.unary_unary(f"/{SERVICE}/ModelInfer", write, service_pb2.ModelInferResponse.FromString)
    stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", write, service_pb2.ModelStreamInferResponse.FromString)

    def call(wish):
        headers = (("authorization", f"Bearer {canary()}"), ("cookie", canary()), ("x-wish", wish), *metadata())
        return {"metadata": headers, "timeout": 60}

    for compression in (None, grpc.Compression.Gzip):
        assert infer(request(canary()), compression=compression, **call("plain")).raw_output_contents
    try:
        infer(request(canary()), **call("refused"))
    except grpc.RpcError as refused:
        assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT, refused
    assert len(list(stream((request(canary()) for _ in range(2)), **call("plain")))) == 4
    try:
        list(stream(iter([request(canary())]), **call("broken")))
    except grpc.RpcError as broken:
        assert broken.code() is grpc.StatusCode.DATA_LOSS, broken
    held = stream(iter([request(canary())]), **call("held"))
    assert next(held).infer_response.id
    held.cancel()
    return 6


if MODE == "serve":
    serve()
else:
    address, *CANARIES = CANARIES
    with grpc.insecure_channel(address) as channel:
        print(ask(channel))
