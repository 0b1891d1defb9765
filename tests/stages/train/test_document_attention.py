import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.train.document_attention import document_attention
from stages.train.model import alibi_slopes, dense_attention


@given(st.lists(st.integers(1, 200), min_size=1, max_size=6), st.integers(1, 300))
def test_it_has_the_results_and_gradients_of_dense_attention(lengths, padding):
    numbers = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    packed = torch.cat([numbers, torch.full((padding,), -1)])
    documents = torch.stack([packed, torch.zeros_like(packed)])
    found = []
    for make in (dense_attention, document_attention):
        generator = torch.Generator().manual_seed(0)
        q, k, v = (
            torch.randn(2, heads, documents.shape[1], 8, generator=generator, requires_grad=True)
            for heads in (6, 2, 2)
        )
        result = make(documents, alibi_slopes(6))(q, k, v)
        (result * torch.randn(result.shape, generator=generator)).sum().backward()
        found.append((result, q.grad, k.grad, v.grad))
    for dense, by_document in zip(*found, strict=True):
        assert torch.allclose(dense, by_document, atol=1e-4)


def test_long_documents_have_the_same_results(monkeypatch):
    documents = torch.tensor([[0] * 100 + [1] * 156])
    q, k, v = (torch.randn(1, heads, 256, 8) for heads in (6, 2, 2))
    attend = document_attention(documents, alibi_slopes(6))
    short = attend(q, k, v)
    monkeypatch.setattr("stages.train.document_attention.LONG", 64)
    assert torch.allclose(attend(q, k, v), short, atol=1e-5)
