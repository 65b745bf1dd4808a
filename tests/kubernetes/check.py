"""Checks jobs/kubernetes/*.yaml without a cluster: against the schemas of several releases, and against what schemas do not say.

    target/venv-kubernetes/bin/python tests/kubernetes/check.py

Where kubectl is installed, submit.sh runs too, with a kubectl that hands out nothing: what it would create is checked alike.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "jobs/kubernetes"
# The first that has every field, and the oldest and newest that somebody may run.
RELEASES = ["1.29", "1.31", "1.33", kubernetes_validate.latest_version()]
FINAL_CODES, COUNTED_CODES = [2, 3, 10], [75, 137]
# deepsweep takes 20 s from a signal to its end (SHUTDOWN_SECS), and AWS and Kubernetes give 30.
SHUTDOWN_SECS = int(re.search(r"SHUTDOWN_SECS: u64 = (\d+)", (ROOT / "src/limits.rs").read_text())[1])

problems = []


def expect(name, what, expected, found):
    if expected != found:
        problems.append(f"{name}: {what}: expected {expected!r}, found {found!r}")


def check_job(name, spec):
    """A Job's spec: retries, signals, rights, and variables that are there."""
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    env = {variable["name"]: variable.get("value") for variable in container["env"]}
    indexed = spec.get("completionMode") == "Indexed"

    rules = spec["podFailurePolicy"]["rules"]
    fail = "FailIndex" if indexed else "FailJob"
    expect(name, "rules, in order", ["Ignore", fail, "Count"], [rule["action"] for rule in rules])
    expect(name, "ignored", "DisruptionTarget", rules[0]["onPodConditions"][0]["type"])
    expect(name, "codes that end it", FINAL_CODES, rules[1]["onExitCodes"]["values"])
    expect(name, "codes that are tried again", COUNTED_CODES, rules[2]["onExitCodes"]["values"])
    for rule in rules[1:]:
        expect(name, "container of a rule", container["name"], rule["onExitCodes"]["containerName"])
    # The API server refuses FailIndex without the first and podFailurePolicy without Never.
    expect(name, "retries of each index", indexed, "backoffLimitPerIndex" in spec)
    expect(name, "restartPolicy", "Never", pod["restartPolicy"])
    expect(name, "time to end in", True, pod["terminationGracePeriodSeconds"] >= SHUTDOWN_SECS + 5)
    if indexed:
        expect(name, "WORKERS", str(spec["completions"]), env["WORKERS"])
        expect(name, "parallelism", spec["completions"], spec["parallelism"])

    # The pod security standard "restricted", which the namespace enforces.
    expect(name, "runAsNonRoot", True, pod["securityContext"]["runAsNonRoot"])
    expect(name, "seccomp", "RuntimeDefault", pod["securityContext"]["seccompProfile"]["type"])
    rights = container["securityContext"]
    expect(name, "privilege escalation", False, rights["allowPrivilegeEscalation"])
    expect(name, "capabilities", {"drop": ["ALL"]}, rights["capabilities"])
    expect(name, "root file system", True, rights["readOnlyRootFilesystem"])
    expect(name, "limits", container["resources"]["requests"], container["resources"]["limits"])

    expect(name, "mounts", {v["name"] for v in pod["volumes"]}, {m["name"] for m in container["volumeMounts"]})
    expect(name, "scratch", "/scratch", env["TMPDIR"])
    known = set(env) | ({"JOB_COMPLETION_INDEX"} if indexed else set())
    named = set(re.findall(r"\$\((\w+)\)", " ".join(container["args"])))
    expect(name, "variables that are named but not set", set(), named - known)


def check(name, text):
    """Every document of a file; the kinds that were found."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    for document in documents:
        for release in RELEASES:
            try:
                kubernetes_validate.validate(document, release, strict=True)
            except kubernetes_validate.ValidationError as error:
                problems.append(f"{name}: Kubernetes {release}: {'.'.join(map(str, error.path))}: {error.message}")
        if document["kind"] == "Job":
            check_job(name, document["spec"])
        if document["kind"] == "CronJob":
            check_job(name, document["spec"]["jobTemplate"]["spec"])
    return documents


# What needs no cluster goes to the real one; what is applied is kept; each job is complete at once.
KUBECTL = """#!/usr/bin/env bash
case " $* " in
  *" --local "* | *" --dry-run=client "*) exec REAL "$@" ;;
  *" apply "*) { echo ---; cat; } >>"$APPLIED" ;;
  *" get job "*) echo Complete ;;
esac
"""


def submitted(kubectl, workers):
    with tempfile.TemporaryDirectory() as folder:
        fake, applied = Path(folder, "kubectl"), Path(folder, "applied.yaml")
        fake.write_text(KUBECTL.replace("REAL", kubectl))
        fake.chmod(0o755)
        environment = os.environ | {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "APPLIED": str(applied),
            "KUBECONFIG": "/dev/null",
            "IMAGE": "ours/deepsweep:7",
            "RUN_ID": "20261125t0230-catalogue",
            "POLL_SECONDS": "0",
        }
        command = [FOLDER / "submit.sh", ROOT / "jobs/adhoc.toml", "s3://ours/faces/", str(workers)]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return applied.read_text()


def check_submitted(kubectl):
    config, *jobs = check("submit.sh", submitted(kubectl, 7))
    expect("submit.sh", "configmap", "deepsweep-20261125t0230-catalogue", config["metadata"]["name"])
    expect("submit.sh", "job file", (ROOT / "jobs/adhoc.toml").read_text(), config["data"]["job.toml"])
    names = [f"deepsweep-{step}-20261125t0230-catalogue" for step in ("plan", "work", "finish")]
    expect("submit.sh", "jobs", names, [job["metadata"]["name"] for job in jobs])
    for job in jobs:
        pod = job["spec"]["template"]["spec"]
        container = pod["containers"][0]
        env = {variable["name"]: variable.get("value") for variable in container["env"]}
        expect("submit.sh", "image", "ours/deepsweep:7", container["image"])
        expect("submit.sh", "DEST", "s3://ours/faces", env["DEST"])
        expect("submit.sh", "RUN_ID", "20261125t0230-catalogue", env["RUN_ID"])
        expect("submit.sh", "DEEPSWEEP_MODELS", "s3://ours/faces/models", env["DEEPSWEEP_MODELS"])
    mounted = [volume["configMap"]["name"] for volume in jobs[0]["spec"]["template"]["spec"]["volumes"] if "configMap" in volume]
    expect("submit.sh", "job file of plan", [config["metadata"]["name"]], mounted)
    expect("submit.sh", "completions", 7, jobs[1]["spec"]["completions"])


files = sorted(FOLDER.glob("*.yaml"))
kinds = [document["kind"] for file in files for document in check(file.name, file.read_text())]
expect("jobs/kubernetes", "kinds", ["CronJob", "Job", "Job", "Job", "Namespace", "ServiceAccount"], sorted(kinds))
kubectl = shutil.which("kubectl")
if kubectl:
    check_submitted(kubectl)
if problems:
    sys.exit("\n".join(problems))
print(f"{len(files)} files pass under Kubernetes {', '.join(RELEASES)}; submit.sh {'too' if kubectl else 'not tried: no kubectl here'}")
