"""What answers must hold, also under load: an example for `reenact replay --probe 'cmd:pytest …'` (docs/quality.md).

`OPENAI_BASE_URL` and `OPENAI_API_KEY` say whom to ask; the client reads both by itself. `REENACT_MODEL` is the model's name there.
"""

import os
import time

import openai
import pytest

# The client would repeat what was refused without a word, and the wait would pass for the answer's.
client = openai.OpenAI(max_retries=0, timeout=60)

FACTS = {
    "capital": ("What is the capital of France? Answer in one word.", "paris"),
    "sum": ("What is 17 + 25? Answer in digits.", "42"),
}


@pytest.fixture
def ask(record_property):
    def answer(question):
        began = time.monotonic()
        completion = client.chat.completions.create(
            model=os.environ["REENACT_MODEL"],
            messages=[{"role": "user", "content": question}],
            temperature=0,
            max_tokens=50,
        )
        record_property("latency_ms", 1000 * (time.monotonic() - began))
        return completion.choices[0].message.content

    return answer


@pytest.mark.parametrize("fact", FACTS)
def test_knows(ask, fact):
    question, answer = FACTS[fact]
    assert answer in ask(question).lower()


def test_is_brief(ask, record_property):
    words = len(ask("Say hello in at most ten words.").split())
    record_property("score", min(1.0, 10 / max(1, words)))
    assert words <= 10
