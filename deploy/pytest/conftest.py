"""Tells `reenact replay --probe 'cmd:pytest …'` of each test (docs/quality.md). Copy it beside your tests.

The last line is one JSON object. A failed assertion is a failed test; any other exception (a timeout, 429, 500) is an error: there was no answer
to judge. `score` and `latency_ms` go along where a test has told them with `record_property`.
"""

import json

import pytest

TOLD = ("score", "latency_ms")
tests = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed or (report.passed and report.when == "call"):
        test = {"id": item.nodeid}
        test |= {name: value for name, value in report.user_properties if name in TOLD}
        is_judged = report.passed or (
            report.when == "call" and call.excinfo.errisinstance((AssertionError, pytest.fail.Exception))
        )
        test |= {"pass": report.passed} if is_judged else {"error": True}
        tests[item.nodeid] = test
    return report


def pytest_unconfigure():
    if tests:
        print(json.dumps({"tests": list(tests.values())}))
