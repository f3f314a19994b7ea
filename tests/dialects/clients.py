"""Speaks to servers of many kinds through their own clients, and prints what each got as JSON, one line a call.

Usage: clients.py BASE_URL GRPC_URL
"""

import json
import queue
import sys

import cohere
import numpy
import ollama
import openai
import tritonclient.grpc
import tritonclient.http
from google import genai
from huggingface_hub import InferenceClient

BASE, CALLS = (url.rstrip("/") for url in sys.argv[1:3])
MODEL = "m-1"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "And at dusk?"}]

gpt = openai.OpenAI(base_url=BASE + "/v1", api_key="unused", max_retries=0)
llama = ollama.Client(host=BASE)
command = cohere.ClientV2(api_key="unused", base_url=BASE)
gemini = genai.Client(api_key="unused", http_options={"base_url": BASE})
hub = InferenceClient(model=BASE + "/", token="unused")


def plain(value):
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def responses():
    return plain(gpt.responses.create(model=MODEL, instructions="Be brief.", input="And at dusk?", max_output_tokens=40))


def responses_stream():
    items = [
        {"role": "user", "content": "And at dusk?"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "rain"},
    ]
    stream = gpt.responses.create(model=MODEL, input=items, previous_response_id="resp_0", stream=True)
    return [plain(event) for event in stream]


def embeddings():
    return plain(gpt.embeddings.create(model=MODEL, input=["one", "three"], dimensions=256, encoding_format="float"))


def ollama_chat():
    return [plain(part) for part in llama.chat(model=MODEL, messages=MESSAGES, stream=True, options={"num_predict": 40, "num_ctx": 8192})]


def ollama_generate():
    return plain(llama.generate(model=MODEL, system="Be brief.", prompt="And at dusk?"))


def ollama_embed():
    return plain(llama.embed(model=MODEL, input="And at dusk?"))


def cohere_chat():
    return plain(command.chat(model=MODEL, messages=MESSAGES, max_tokens=40))


def cohere_stream():
    return [plain(event) for event in command.chat_stream(model=MODEL, messages=MESSAGES)]


CONFIG = {"system_instruction": "Be brief.", "max_output_tokens": 40, "temperature": 0}


def gemini_generate():
    answer = gemini.models.generate_content(model="g-1", contents="And at dusk?", config=CONFIG)
    return [answer.text, plain(answer.usage_metadata)]


def gemini_stream():
    stream = gemini.models.generate_content_stream(model="g-1", contents="And at dusk?", config=CONFIG)
    return [[piece.text, plain(piece.usage_metadata)] for piece in stream]


def tgi():
    return json.loads(json.dumps(hub.text_generation("And at dusk?", max_new_tokens=4, details=True, adapter_id="team/lora"), default=vars))


def tgi_stream():
    stream = hub.text_generation("And at dusk?", max_new_tokens=4, details=True, stream=True)
    return [json.loads(json.dumps(event, default=vars)) for event in stream]


def tensor(kind):
    tensor = kind.InferInput("IN", [1, 4], "INT32")
    tensor.set_data_from_numpy(numpy.arange(4, dtype=numpy.int32).reshape(1, 4))
    return [tensor]


def infer():
    client = tritonclient.http.InferenceServerClient(BASE.removeprefix("http://"))
    answer = client.infer("adder", tensor(tritonclient.http))
    client.close()
    return answer.as_numpy("OUT").tolist()


def grpc_infer():
    client = tritonclient.grpc.InferenceServerClient(CALLS.removeprefix("http://"))
    answer = client.infer("adder", tensor(tritonclient.grpc))
    client.close()
    return answer.as_numpy("OUT").tolist()


def grpc_refused():
    client = tritonclient.grpc.InferenceServerClient(CALLS.removeprefix("http://"))
    try:
        client.infer("another", tensor(tritonclient.grpc))
    except tritonclient.grpc.InferenceServerException as error:
        return [error.status(), error.message()]
    finally:
        client.close()


def grpc_stream():
    client = tritonclient.grpc.InferenceServerClient(CALLS.removeprefix("http://"))
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for _ in range(2):
        client.async_stream_infer("adder", tensor(tritonclient.grpc))
    seen = [answers.get(timeout=60) for _ in range(4)]
    client.stop_stream()
    client.close()
    return [[result.as_numpy("OUT").tolist(), error] for result, error in seen]


for call in (
    responses,
    responses_stream,
    embeddings,
    ollama_chat,
    ollama_generate,
    ollama_embed,
    cohere_chat,
    cohere_stream,
    gemini_generate,
    gemini_stream,
    tgi,
    tgi_stream,
    infer,
    grpc_infer,
    grpc_refused,
    grpc_stream,
):
    print(json.dumps([call.__name__, call()], sort_keys=True), flush=True)
