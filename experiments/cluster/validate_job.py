#!/usr/bin/env python3
"""Checks a Kubernetes manifest against the published schema of its kind.

usage: validate_job.py MANIFEST

Unknown fields are errors, as `kubectl apply --validate=strict` has it. Prints, as JSON, what a
kubelet would run: the version of the schema, the number of indices, and the container's command,
environment and working directory.
"""

import json
import sys

import kubernetes_validate
import yaml


def main() -> None:
    path = sys.argv[1]
    with open(path, encoding="utf-8") as file:
        job = yaml.safe_load(file)
    if job["apiVersion"] != "batch/v1" or job["kind"] != "Job":
        sys.exit(f"{path}: {job['apiVersion']} {job['kind']} is no batch/v1 Job")
    version = kubernetes_validate.latest_version()
    try:
        kubernetes_validate.validate(job, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(str(part) for part in error.path)
        sys.exit(f"{path}: {where}: {error.message}")
    spec = job["spec"]
    if spec["completionMode"] != "Indexed":
        sys.exit(f"{path}: spec.completionMode is {spec['completionMode']}, not Indexed")
    (container,) = spec["template"]["spec"]["containers"]

    def literal(text):
        """What a container is given: Kubernetes reads $$ as $."""
        return text.replace("$$", "$")

    told = {
        "schema": version,
        "completions": spec["completions"],
        "command": [literal(word) for word in container["command"] + container.get("args", [])],
        "environment": {
            entry["name"]: literal(entry["value"]) for entry in container.get("env", [])
        },
        "working_directory": container.get("workingDir"),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
