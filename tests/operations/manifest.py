"""Checks a Kubernetes manifest against the schemas of two releases, and the recorder's container against the "restricted" pod
security standard: python manifest.py FILE"""

import sys

import kubernetes_validate
import yaml

documents = list(yaml.safe_load_all(open(sys.argv[1])))
for version in ("1.30", kubernetes_validate.latest_version()):
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)

[deployment] = [document for document in documents if document["kind"] == "Deployment"]
pod = deployment["spec"]["template"]["spec"]
[sidecar] = [each for each in pod["initContainers"] if each["name"] == "reenact"]
assert sidecar["restartPolicy"] == "Always", "not a sidecar"
assert pod["securityContext"]["runAsNonRoot"] is True
assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
for container in [sidecar, *pod["containers"]]:
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False, container["name"]
    assert context["capabilities"]["drop"] == ["ALL"], container["name"]
assert sidecar["securityContext"]["readOnlyRootFilesystem"] is True
volumes = {volume["name"] for volume in pod["volumes"]}
for container in [sidecar, *pod["containers"]]:
    for mount in container["volumeMounts"]:
        assert mount["name"] in volumes, mount
ports = {port["name"] for port in sidecar["ports"]}
for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
    assert sidecar[probe]["httpGet"]["port"] in ports, probe
for document in documents:
    if document["kind"] == "Service":
        assert all(port["targetPort"] in ports for port in document["spec"]["ports"])
# The test starts the recorder with these.
for variable in sidecar["env"]:
    print(f'{variable["name"]}={variable["value"]}')
