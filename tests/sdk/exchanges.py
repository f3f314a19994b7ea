"""Speaks to an inference server as real clients do, through the official SDKs, and prints what it saw as JSON.

Usage: exchanges.py BASE_URL

One object a call: its name, what the client got (ids and clocks left out), when it began and how long it took in seconds.
"""

import base64
import json
import struct
import sys
import time
import zlib

import anthropic
import openai

BASE = sys.argv[1].rstrip("/")
MODEL = "sim"


def png(width, height):
    """A real, tiny picture."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + b"\x7f" * (3 * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PICTURE = png(24, 16)
PICTURE_URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Look up the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TOOL_QUESTION = {
    "tools": [
        {
            "name": "get_weather",
            "description": "Look up the weather",
            "input_schema": WEATHER["function"]["parameters"],
        }
    ],
    "tool_choice": {"type": "any"},
    "messages": [{"role": "user", "content": "Will it rain?"}],
}
HISTORY = [
    {"role": "system", "content": "You are a careful assistant that answers in plain words."},
    {"role": "user", "content": "Tell me about the harbour at dawn."},
    {"role": "assistant", "content": "Boats come in with the tide."},
    {"role": "user", "content": "And at dusk?"},
]

chat = openai.OpenAI(base_url=BASE + "/v1", api_key="unused", max_retries=0)
claude = anthropic.Anthropic(base_url=BASE, api_key="unused", max_retries=0)


def plain(value):
    """What an SDK object holds, without what differs from run to run."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(exclude_none=True)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in ("id", "created", "system_fingerprint")}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def chat_plain():
    return plain(chat.chat.completions.create(model=MODEL, messages=HISTORY, max_tokens=12, temperature=0))


def chat_stream():
    stream = chat.chat.completions.create(
        model=MODEL, messages=HISTORY, max_tokens=20, stream=True, stream_options={"include_usage": True}
    )
    return [plain(chunk) for chunk in stream]


def chat_stream_without_usage():
    stream = chat.chat.completions.create(model=MODEL, messages=HISTORY, max_tokens=9, stream=True)
    return [plain(chunk) for chunk in stream]


def chat_tools():
    return plain(
        chat.chat.completions.create(
            model=MODEL, messages=HISTORY[-1:], tools=[WEATHER], tool_choice="required", max_tokens=400
        )
    )


def chat_tools_stream():
    stream = chat.chat.completions.create(
        model=MODEL,
        messages=HISTORY[-1:],
        tools=[WEATHER],
        tool_choice="required",
        max_tokens=400,
        stream=True,
        stream_options={"include_usage": True},
    )
    return [plain(chunk) for chunk in stream]


def chat_image():
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PICTURE_URL}}]
    return plain(
        chat.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": parts}], max_tokens=8)
    )


def chat_cancelled():
    stream = chat.chat.completions.create(model=MODEL, messages=HISTORY, max_tokens=5000, stream=True)
    seen = []
    for chunk in stream:
        seen.append(plain(chunk))
        if len(seen) == 6:
            break
    stream.close()
    return seen


def completions_plain():
    return plain(chat.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=7))


def completions_stream():
    stream = chat.completions.create(
        model=MODEL, prompt="Once upon a time", max_tokens=11, stream=True, stream_options={"include_usage": True}
    )
    return [plain(chunk) for chunk in stream]


def messages_plain():
    return plain(
        claude.messages.create(
            model=MODEL, max_tokens=10, system="Be brief.", messages=[{"role": "user", "content": "Good morning"}]
        )
    )


def messages_stream():
    with claude.messages.create(
        model=MODEL,
        max_tokens=14,
        system="Be brief.",
        messages=[{"role": "user", "content": [{"type": "text", "text": "Good evening to you"}]}],
        stream=True,
    ) as stream:
        return [plain(event) for event in stream]


def messages_image():
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PICTURE).decode()}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    return plain(claude.messages.create(model=MODEL, max_tokens=6, messages=[{"role": "user", "content": content}]))


def messages_tools():
    return plain(claude.messages.create(model=MODEL, max_tokens=400, **TOOL_QUESTION))


def messages_tools_stream():
    with claude.messages.create(model=MODEL, max_tokens=400, stream=True, **TOOL_QUESTION) as stream:
        return [plain(event) for event in stream]


def messages_cancelled():
    stream = claude.messages.create(
        model=MODEL, max_tokens=5000, messages=[{"role": "user", "content": "Go on and on"}], stream=True
    )
    seen = []
    for event in stream:
        seen.append(plain(event))
        if len(seen) == 6:
            break
    stream.close()
    return seen


def refused():
    try:
        chat.chat.completions.create(model=MODEL, messages=[], max_tokens=3)
    except openai.APIStatusError as error:
        return {"status": error.status_code, "body": error.body}
    return "not refused"


def models():
    return [plain(model) for model in chat.models.list()]


CALLS = [
    chat_plain,
    chat_stream,
    chat_stream_without_usage,
    chat_tools,
    chat_tools_stream,
    chat_image,
    completions_plain,
    completions_stream,
    messages_plain,
    messages_stream,
    messages_image,
    messages_tools,
    messages_tools_stream,
    refused,
    models,
    chat_cancelled,
    messages_cancelled,
]

began = time.monotonic()
report = []
for call in CALLS:
    start = time.monotonic()
    seen = call()
    report.append({"call": call.__name__, "at_s": start - began, "took_s": time.monotonic() - start, "seen": seen})
json.dump({"picture_bytes": len(PICTURE), "calls": report}, sys.stdout)
