"""A Kubernetes cluster: resources sent to it, and a Ray job followed until it ends."""

import contextlib
import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.kubernetes.overlays import Resource
from schemas.errors import SetupError

MANAGER = "aqaa-data"
"""Who applied a resource, as Kubernetes notes it."""

_RAYJOBS: dict[str, Any] = {"group": "ray.io", "version": "v1", "plural": "rayjobs"}
_ENDED = ("Complete", "Failed")
_LONGEST = 4000
"""Letters of a message; KubeRay puts the end of the job's log into it."""

EVERY = 5.0
"""Seconds between two looks at a job."""

_TIMEOUT = (10, 60)
"""Seconds to connect and to be answered."""


@dataclass(frozen=True)
class JobState:
    """What is known of a job at one moment."""

    deployment: str
    """`Initializing`, `Running`, `Retrying`, `Complete`, `Failed` ..; empty before KubeRay saw the job."""
    job: str
    """`PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED`, `STOPPED`; empty before it was started."""
    message: str
    pods: str
    """How many are in which phase, and what one waits for."""

    @property
    def ended(self) -> bool:
        return self.deployment in _ENDED

    @property
    def succeeded(self) -> bool:
        return self.deployment == "Complete" and self.job == "SUCCEEDED"

    def __str__(self) -> str:
        phase = self.deployment or "not seen by KubeRay yet"
        return ", ".join(filter(None, [f"{phase} {self.job}".strip(), self.pods, self.message[-_LONGEST:]]))


class Cluster:
    """One namespace of the cluster that the current kubeconfig means (or the pod that this runs in)."""

    def __init__(self, namespace: str | None = None) -> None:
        """Raises SetupError where there is no cluster to be found."""
        from kubernetes import client, config
        from kubernetes.config import ConfigException
        from kubernetes.config.kube_config import list_kube_config_contexts
        from yaml import YAMLError

        file = os.environ.get("KUBECONFIG", "~/.kube/config")
        settings: Any = client.Configuration()
        settings.retries = False
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
                config.load_incluster_config(client_configuration=settings)
                current = _mounted_namespace()
            else:
                with contextlib.redirect_stdout(io.StringIO()):
                    config.load_kube_config(file, client_configuration=settings)
                current = list_kube_config_contexts(file)[1]["context"].get("namespace")
        except (ConfigException, YAMLError, OSError, ValueError, TypeError, KeyError) as error:
            raise SetupError(
                f"no cluster: {file} can't be used ({_first_line(error)}). Name one by KUBECONFIG, or "
                "render only, by --dry-run"
            ) from error
        self.namespace = namespace or current or "default"
        self.host = settings.host
        api = client.ApiClient(settings)
        core: Any
        core, network = client.CoreV1Api(api), client.NetworkingV1Api(api)
        self._custom = client.CustomObjectsApi(api)
        self._core = core
        self._patches = {
            "ConfigMap": core.patch_namespaced_config_map,
            "ServiceAccount": core.patch_namespaced_service_account,
            "PersistentVolumeClaim": core.patch_namespaced_persistent_volume_claim,
            "NetworkPolicy": network.patch_namespaced_network_policy,
        }

    def apply(self, resource: Resource) -> None:
        """Create a resource, or make the one of its name like it (server-side apply)."""
        kind, name = resource["kind"], resource["metadata"]["name"]
        if kind not in self._patches:
            raise SetupError(f"a {kind} can't be submitted from here: apply the overlay with kubectl")
        with self._explained(f"{kind} {name}"):
            self._patches[kind](
                name,
                self.namespace,
                resource,
                field_manager=MANAGER,
                force=True,
                _content_type="application/apply-patch+yaml",
                _request_timeout=_TIMEOUT,
            )

    def start(self, job: Resource) -> None:
        """Create a RayJob; one of its name that has ended makes room. Raises SetupError where one runs."""
        name = job["metadata"]["name"]
        there = self._job(name)
        if there is not None:
            if not _state(there, "").ended:
                raise SetupError(
                    f"{name} runs in {self.namespace} already: look at it with `{self.look(name)}`, "
                    f"end it with `kubectl -n {self.namespace} delete rayjob {name}`"
                )
            with self._explained(f"RayJob {name}"):
                self._custom.delete_namespaced_custom_object(
                    namespace=self.namespace, name=name, _request_timeout=_TIMEOUT, **_RAYJOBS
                )
            self._until_gone(name)
        with self._explained(f"RayJob {name}"):
            self._custom.create_namespaced_custom_object(
                namespace=self.namespace,
                body=job,
                field_manager=MANAGER,
                field_validation="Strict",
                _request_timeout=_TIMEOUT,
                **_RAYJOBS,
            )

    def follow(self, name: str) -> Iterator[JobState]:
        """The state of a job, each time that it has changed, until it has ended."""
        last = None
        while True:
            found = self._job(name)
            if found is None:
                raise SetupError(f"the job {name} was deleted from {self.namespace}")
            state = _state(found, self._pods(found))
            if state != last:
                yield state
            if state.ended:
                return
            last = state
            time.sleep(EVERY)

    def look(self, name: str) -> str:
        """The command that shows a job."""
        return f"kubectl -n {self.namespace} get rayjob {name} -w"

    def _job(self, name: str) -> dict[str, Any] | None:
        from kubernetes.client.exceptions import ApiException

        with self._explained(f"RayJob {name}"):
            try:
                found: Any = self._custom.get_namespaced_custom_object(
                    namespace=self.namespace, name=name, _request_timeout=_TIMEOUT, **_RAYJOBS
                )
            except ApiException as error:
                if error.status == 404 and _said(error).get("details", {}).get("name") == name:
                    return None
                raise
            return dict(found)

    def _until_gone(self, name: str) -> None:
        for _ in range(120):
            if self._job(name) is None:
                return
            time.sleep(0.5)
        raise SetupError(f"the last job {name} can't be deleted from {self.namespace}: see what holds it")

    def _pods(self, job: dict[str, Any]) -> str:
        """Phases of the job's pods, and why one waits; empty where they may not be read."""
        from kubernetes.client.exceptions import ApiException

        cluster = (job.get("status") or {}).get("rayClusterName")
        if not cluster:
            return ""
        try:
            pods = self._core.list_namespaced_pod(
                self.namespace, label_selector=f"ray.io/cluster={cluster}", _request_timeout=_TIMEOUT
            ).items
        except ApiException:
            return ""
        phases = [pod.status.phase or "Unknown" for pod in pods]
        counts = ", ".join(f"{phases.count(phase)} {phase.lower()}" for phase in sorted(set(phases)))
        waits = next((why for pod in pods if (why := _waits_for(pod))), "")
        return f"pods: {counts}{f' ({waits})' if waits else ''}" if phases else ""

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """The cluster's trouble in words of the user."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ApiException as error:
            said = _said(error).get("message") or error.reason or "no reason given"
            match error.status:
                case 401:
                    told = "the cluster doesn't know who you are: renew the credentials of your kubeconfig"
                case 403:
                    told = f"you may not do this in the namespace {self.namespace}: {said}"
                case 404 if what.startswith("RayJob"):
                    told = "the cluster has no RayJobs: install the KubeRay operator, 1.3 or newer"
                case 404:
                    told = f"there is no namespace {self.namespace}: {said}"
                case _:
                    told = f"{said} ({error.status})"
            raise SetupError(f"{what}: {told}") from error
        except (HTTPError, OSError) as error:
            raise SetupError(f"can't reach the cluster at {self.host}: {_first_line(error)}") from error


def _state(job: dict[str, Any], pods: str) -> JobState:
    status = job.get("status") or {}
    said = [str(status[key]).strip() for key in ("reason", "message") if status.get(key)]
    return JobState(
        str(status.get("jobDeploymentStatus") or ""),
        str(status.get("jobStatus") or ""),
        ": ".join(said),
        pods,
    )


def _waits_for(pod: Any) -> str:
    """Why a pod is not running yet, where it is for want of something."""
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{pod.metadata.name}: {condition.message or condition.reason}"
    for container in pod.status.container_statuses or ():
        waiting = container.state.waiting if container.state else None
        if waiting and waiting.reason not in (None, "ContainerCreating", "PodInitializing"):
            return f"{pod.metadata.name}: {waiting.reason}"
    return ""


def _said(error: Any) -> dict[str, Any]:
    """The Status object that an API server answers with."""
    try:
        found = json.loads(error.body or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _mounted_namespace() -> str | None:
    try:
        return Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text().strip()
    except OSError:
        return None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
