"""A Kubernetes cluster: applies resources, and follows a Ray job until it ends."""

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
"""The field manager of the resources that are applied here."""

_RAYJOBS: dict[str, Any] = {"group": "ray.io", "version": "v1", "plural": "rayjobs"}
_ENDED = ("Complete", "Failed")
_MESSAGE_LETTERS = 4000
"""Letters shown of a message; KubeRay puts the end of the job's log into it."""

POLL = 5.0
"""Seconds between two polls of a job."""

_TIMEOUT = (10, 60)
"""Seconds to connect, and to wait for an answer."""


@dataclass(frozen=True)
class JobState:
    """The state of a job at one moment."""

    deployment: str
    """`Initializing`, `Running`, `Retrying`, `Complete`, `Failed` ..; empty before KubeRay saw the job."""
    job: str
    """`PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED`, `STOPPED`; empty until it was started."""
    message: str
    pods: str
    """The number of pods in each phase, and what one of them is waiting for."""

    @property
    def ended(self) -> bool:
        return self.deployment in _ENDED

    @property
    def succeeded(self) -> bool:
        return self.deployment == "Complete" and self.job == "SUCCEEDED"

    def __str__(self) -> str:
        phase = self.deployment or "not seen by KubeRay yet"
        return ", ".join(
            filter(None, [f"{phase} {self.job}".strip(), self.pods, self.message[-_MESSAGE_LETTERS:]])
        )


class Cluster:
    """One namespace of the cluster of the current kubeconfig, or of the pod that this runs in."""

    def __init__(self, namespace: str | None = None) -> None:
        """Raises SetupError if no cluster is configured."""
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
                f"no cluster: {file} can't be used ({_first_line(error)}). Set KUBECONFIG, or print the "
                "resources with --dry-run"
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
        """Create a resource, or update the one of its name (server-side apply)."""
        kind, name = resource["kind"], resource["metadata"]["name"]
        if kind not in self._patches:
            raise SetupError(
                f"resources of kind {kind} aren't supported here: apply the overlay with kubectl"
            )
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
        """Create a RayJob; replaces one of its name that has ended. Raises SetupError if one is running."""
        name = job["metadata"]["name"]
        existing = self._job(name)
        if existing is not None:
            if not _state(existing, "").ended:
                raise SetupError(
                    f"{name} is already running in {self.namespace}: "
                    f"show it with `{self.show_command(name)}`, "
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
        """The state of a job, each time it changes, until the job has ended."""
        last = None
        while True:
            job = self._job(name)
            if job is None:
                raise SetupError(f"the job {name} was deleted from {self.namespace}")
            state = _state(job, self._pods(job))
            if state != last:
                yield state
            if state.ended:
                return
            last = state
            time.sleep(POLL)

    def show_command(self, name: str) -> str:
        """The command that shows a job."""
        return f"kubectl -n {self.namespace} get rayjob {name} -w"

    def _job(self, name: str) -> dict[str, Any] | None:
        from kubernetes.client.exceptions import ApiException

        with self._explained(f"RayJob {name}"):
            try:
                job: Any = self._custom.get_namespaced_custom_object(
                    namespace=self.namespace, name=name, _request_timeout=_TIMEOUT, **_RAYJOBS
                )
            except ApiException as error:
                if error.status == 404 and _status(error).get("details", {}).get("name") == name:
                    return None
                raise
            return dict(job)

    def _until_gone(self, name: str) -> None:
        for _ in range(120):
            if self._job(name) is None:
                return
            time.sleep(0.5)
        raise SetupError(
            f"the previous job {name} can't be deleted from {self.namespace}: check its finalizers"
        )

    def _pods(self, job: dict[str, Any]) -> str:
        """Phases of the job's pods, and why one is waiting; empty without permission to read them."""
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
        waiting = next((why for pod in pods if (why := _waiting_for(pod))), "")
        return f"pods: {counts}{f' ({waiting})' if waiting else ''}" if phases else ""

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn errors of the API server into SetupError with what to do."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ApiException as error:
            reason = _status(error).get("message") or error.reason or "no reason given"
            match error.status:
                case 401:
                    message = "the cluster rejects your credentials: renew those of your kubeconfig"
                case 403:
                    message = f"you lack the permission for this in the namespace {self.namespace}: {reason}"
                case 404 if what.startswith("RayJob"):
                    message = "the cluster has no RayJobs: install the KubeRay operator, 1.3 or newer"
                case 404:
                    message = f"there is no namespace {self.namespace}: {reason}"
                case _:
                    message = f"{reason} ({error.status})"
            raise SetupError(f"{what}: {message}") from error
        except (HTTPError, OSError) as error:
            raise SetupError(f"can't reach the cluster at {self.host}: {_first_line(error)}") from error


def _state(job: dict[str, Any], pods: str) -> JobState:
    status = job.get("status") or {}
    message = [str(status[key]).strip() for key in ("reason", "message") if status.get(key)]
    return JobState(
        str(status.get("jobDeploymentStatus") or ""),
        str(status.get("jobStatus") or ""),
        ": ".join(message),
        pods,
    )


def _waiting_for(pod: Any) -> str:
    """What a pod that isn't running yet is waiting for, or an empty string."""
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{pod.metadata.name}: {condition.message or condition.reason}"
    for container in pod.status.container_statuses or ():
        state = container.state.waiting if container.state else None
        if state and state.reason not in (None, "ContainerCreating", "PodInitializing"):
            return f"{pod.metadata.name}: {state.reason}"
    return ""


def _status(error: Any) -> dict[str, Any]:
    """The Status object in an answer of the API server."""
    try:
        status = json.loads(error.body or "{}")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _mounted_namespace() -> str | None:
    try:
        return Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text().strip()
    except OSError:
        return None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
