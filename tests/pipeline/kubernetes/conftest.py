"""A cluster to submit to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes_api import Api, kubernetes_api


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API server of the cluster of the current kubeconfig."""
    with kubernetes_api() as api:
        (tmp_path / "kubeconfig").write_text(api.kubeconfig())
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setattr("pipeline.kubernetes.client.POLL", 0.01)
        yield api
