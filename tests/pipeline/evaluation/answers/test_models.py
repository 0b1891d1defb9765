import pytest

from pipeline.evaluation.answers.models import names_of
from schemas.errors import SetupError


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (["/runs/early", "/runs/late"], ["early", "late"]),
        (["/runs/early/model", "/runs/late/model"], ["early", "late"]),
        (["/runs/a/sft", "/runs/b/sft"], ["a-sft", "b-sft"]),
        (["http://host:8080/v1", "cascade:http://host:8080/v1"], ["host:8080", "cascade"]),
        (["http://host/v1#org/one", "http://host/v1#two"], ["one", "two"]),
        (["/x/model"], ["x"]),
    ],
)
def test_models_have_short_different_names(places, names):
    assert names_of(places) == names


def test_a_model_is_named_once():
    with pytest.raises(SetupError, match="named twice"):
        names_of(["/runs/a", "/runs/a"])
