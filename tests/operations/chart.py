"""Lints the Helm chart by Helm's own library, renders it with several sets of values, validates what comes out, and the manifests beside it,
against the schemas of two Kubernetes releases, and prints what the replay's containers run, a JSON list each:
python chart.py CHART MANIFEST…"""

import json
import sys

import helm_python
import kubernetes_validate
import yaml

chart_dir = sys.argv[1]
TARGETS = [{"name": "old", "url": "http://a:8000"}, {"name": "new", "url": "http://b:8000"}]
WANTED = {
    "as it is": {},
    "shards": {
        "replay": {
            "shards": 4,
            "targets": TARGETS,
            "objectives": ["ttft.p99<800ms", "ttft.p99<+10%"],
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [{"key": "load", "operator": "Exists"}],
            "results": {"existingClaim": "mine"},
        }
    },
    "repeated": {"replay": {"shards": 2, "args": ["--repeat", "3"], "startEvery": "15m", "metricsPort": 0}},
    "sidecar": {
        "storeSecret": "",
        "imagePullSecrets": [{"name": "registry"}],
        "image": {"repository": "example.com/reenact", "tag": "1.2.3"},
        "replay": {"enabled": False},
        "record": {"enabled": True, "traceStore": "s3://traces/llm/", "env": [{"name": "REENACT_SAMPLE", "value": "5%"}]},
    },
}
REFUSED = {
    "no shards": {"replay": {"shards": 0}},
    "no target": {"replay": {"targets": []}},
    "a typo": {"replay": {"objective": ["ttft.p99<800ms"]}},
    "no URL": {"replay": {"targets": [{"name": "a", "url": "llm:8000"}]}},
}

chart = helm_python.Chart.load(chart_dir)
for name, values in REFUSED.items():
    try:
        chart.validate_schema(values)
    except helm_python.HelmError:
        continue
    raise SystemExit(f"{name} is not refused")



def validate(documents):
    for document in documents:
        for version in ("1.30", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(document, version, strict=True)
        if document["kind"] == "Job":
            [container] = document["spec"]["template"]["spec"]["containers"]
            print(json.dumps(container["args"]))


kinds = {}
for name, values in WANTED.items():
    found = helm_python.lint(chart_dir, values, strict=True)
    serious = [message for message in found["messages"] if message["severity"] >= 2]
    assert not serious and not found["errors"], (name, found)
    chart.validate_schema(values)
    rendered = chart.render(values, name="trial", revision=1)
    text = "\n---\n".join(text for path, text in rendered.items() if path.endswith(".yaml"))
    documents = [document for document in yaml.safe_load_all(text) if document]
    kinds[name] = sorted(document["kind"] for document in documents)
    validate(documents)
for path in sys.argv[2:]:
    text = open(path).read().replace("START_AT", "2126-01-01T00:00:00Z")
    validate(yaml.safe_load_all(text))

assert kinds == {
    "as it is": ["Job", "PersistentVolumeClaim"],
    "shards": ["Job"],
    "repeated": ["Job", "PersistentVolumeClaim"],
    "sidecar": ["Deployment", "Service"],
}, kinds
