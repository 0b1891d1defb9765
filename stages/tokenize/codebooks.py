"""Codebooks, and their file `codebooks.npz` with a projection and centroids for each of the two.

The vector of a frame is projected to principal components, scaled by the weight of each kind of feature. Its
code is the index of the nearest centroid by Euclidean distance.
"""

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SetupError
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES

FILE = "codebooks.npz"

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Codebook:
    """A projection of vectors, and centroids in the projected space."""

    mean: NDArray[np.float16]
    """[width]"""
    projection: NDArray[np.float16]
    """[width, dimensions]"""
    centroids: NDArray[np.float16]
    """[size, dimensions]"""

    @property
    def width(self) -> int:
        return len(self.mean)

    @property
    def size(self) -> int:
        return len(self.centroids)

    def nearest(self, vectors: Vectors) -> NDArray[np.intp]:
        """Index of the centroid with the smallest Euclidean distance to each vector, [n, width] -> [n].

        Computed in double precision, so that rounding, which depends on the number of rows and threads, is
        far smaller than the distance between any two centroids.
        """
        mean, projection, centroids, norms = self._exact
        # |x - c|^2 minus |x|^2, which is the same for every centroid.
        distances = norms - 2 * ((vectors - mean) @ projection) @ centroids.T
        codes: NDArray[np.intp] = distances.argmin(axis=1)
        return codes

    @cached_property
    def _exact(self) -> tuple[NDArray[np.float64], ...]:
        mean, projection, centroids = (
            array.astype(np.float64) for array in (self.mean, self.projection, self.centroids)
        )
        return mean, projection, centroids, (centroids**2).sum(axis=1)


@dataclass(frozen=True)
class Codebooks:
    """Both codebooks, and the model to whose frames they were fitted."""

    linguistic: Codebook
    semantic: Codebook
    model_sha256: str
    """Hash of the model's weights."""

    def save(self, directory: Path) -> Path:
        """Write `codebooks.npz` to a directory and return its path."""
        arrays: dict[str, Any] = {"model_sha256": np.array(self.model_sha256)}
        for name in ("linguistic", "semantic"):
            codebook = getattr(self, name)
            arrays |= {f"{name}_{part}": getattr(codebook, part) for part in _PARTS}
        path = directory / FILE
        np.savez(path, **arrays)
        return path

    @classmethod
    def load(cls, directory: Path) -> "Codebooks":
        """Read `codebooks.npz` from a directory.

        Raises SetupError if the file is missing or damaged or has wrong shapes, with what was expected.
        """
        path = directory / FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except FileNotFoundError as error:
            raise SetupError(f"there is no {path}. Fit codebooks with: aqaa-data codebooks fit") from error
        except (zipfile.BadZipFile, ValueError, EOFError, OSError, TypeError, AttributeError) as error:
            raise SetupError(f"{path} is damaged or not a codebook file: {error}") from error
        expected = {"model_sha256", *(f"{n}_{p}" for n in ("linguistic", "semantic") for p in _PARTS)}
        if set(arrays) != expected:
            raise SetupError(
                f"{path} should contain {', '.join(sorted(expected))}, but contains {', '.join(arrays)}"
            )
        linguistic = _checked(path, "linguistic", arrays, LINGUISTIC_CODES)
        semantic = _checked(path, "semantic", arrays, SEMANTIC_CODES)
        return cls(linguistic, semantic, str(arrays["model_sha256"]))


_PARTS = ("mean", "projection", "centroids")


def _checked(path: Path, name: str, arrays: dict[str, NDArray[Any]], max_size: int) -> Codebook:
    mean, projection, centroids = (arrays[f"{name}_{part}"] for part in _PARTS)
    width, dimensions = mean.size, projection.shape[-1] if projection.ndim else 0
    expected = {
        "mean": (width,),
        "projection": (width, dimensions),
        "centroids": (len(centroids), dimensions),
    }
    for part, array in zip(_PARTS, (mean, projection, centroids), strict=True):
        if array.dtype != np.float16 or array.shape != expected[part]:
            raise SetupError(
                f"{path}: {name}_{part} should be float16 {list(expected[part])}, "
                f"but is {array.dtype} {list(array.shape)}"
            )
        if not np.isfinite(array).all():
            raise SetupError(f"{path}: {name}_{part} contains values that are not finite")
    if not 1 <= len(centroids) <= max_size:
        raise SetupError(f"{path}: {name}_centroids should have 1 to {max_size} rows, not {len(centroids)}")
    return Codebook(mean, projection, centroids)
