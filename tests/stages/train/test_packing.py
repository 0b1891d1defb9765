import io
import json
import tarfile

import numpy as np
import pytest
import torch
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SetupError
from stages.train.batch import PADDING, batch_of, modality_of
from stages.train.documents import index_shard
from stages.train.packing import Packing, pack, sequences_of

lengths_of_documents = st.lists(st.integers(1, 120), max_size=200).map(lambda n: np.array(n, np.int64))


@given(lengths_of_documents, st.integers(1, 100), st.integers(0, 5))
def test_every_document_is_in_one_sequence_or_too_long(lengths, sequence_length, seed):
    packing = pack(lengths, sequence_length, seed)
    assert sorted([*packing.order, *packing.left_out]) == list(range(len(lengths)))
    assert all(lengths[packing.left_out] > sequence_length)
    for sequence in range(packing.sequences):
        assert 0 < lengths[packing.documents(sequence)].sum() <= sequence_length


@given(lengths_of_documents)
def test_no_two_sequences_could_have_been_one(lengths):
    """Guaranteed by best fit while all sequences are open."""
    packing = pack(lengths, 120, seed=1)
    filled = sorted(lengths[packing.documents(s)].sum() for s in range(packing.sequences))
    assert len(filled) < 2 or filled[0] + filled[1] > 120


def test_packing_depends_on_the_seed_alone():
    lengths = np.random.default_rng(0).integers(1, 500, 3000)
    first, again, other = (pack(lengths, 2048, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.order, again.order)
    assert np.array_equal(first.starts, again.starts)
    assert not np.array_equal(first.order, other.order)


def test_sequences_are_nearly_full():
    lengths = np.random.default_rng(0).integers(20, 900, 20_000)
    packing = pack(lengths, 2048, seed=0)
    assert lengths.sum() / (packing.sequences * 2048) > 0.98


def test_a_packing_is_saved_and_loaded(tmp_path):
    packing = pack(np.array([5, 9, 3, 40]), 12, seed=0)
    packing.save(tmp_path / "packing.npz")
    back = Packing.load(tmp_path / "packing.npz")
    assert [back.order.tolist(), back.starts.tolist(), back.left_out.tolist()] == [
        packing.order.tolist(),
        packing.starts.tolist(),
        [3],
    ]


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 3))
def test_every_epoch_sees_each_sequence_once(sequences, batch, seed):
    steps = sequences  # as many as make `batch` epochs
    seen = [s for step in range(steps) for s in sequences_of(step, batch, sequences, seed)]
    for epoch in range(batch):
        assert sorted(seen[epoch * sequences : (epoch + 1) * sequences]) == list(range(sequences))


def test_epochs_have_different_orders():
    assert sequences_of(0, 50, 50, seed=0) != sequences_of(1, 50, 50, seed=0)


def test_documents_are_what_webdataset_reads(small_build, opened):
    shards = sorted(small_build.version.glob("shards/train-*.tar"))
    documents = opened(shards)
    manifest = json.loads((small_build.version / "manifest.json").read_text())
    assert len(documents) == manifest["splits"]["train"]
    expected = webdataset.WebDataset([str(path) for path in shards], shardshuffle=False).decode()
    for entry, sample in enumerate(expected):
        (document,) = documents.read([entry])
        assert document.key == sample["__key__"]
        assert document.family == sample["json"]["family"]
        assert np.array_equal(document.tokens, sample["tokens.npy"])
        assert np.array_equal(document.loss, sample["loss.npy"])
        assert documents.lengths[entry] == len(document.tokens)


def test_a_pair_is_read_as_two_documents_after_one_prompt(pair_shards, pairs, opened):
    documents = opened(pair_shards)
    assert len(pair_shards) > 1
    assert documents.keys(range(len(documents))) == [pair.key for pair in pairs]
    for entry, pair in enumerate(pairs):
        sides = documents.read([entry])
        for document, answer in zip(sides, (pair.chosen, pair.rejected), strict=True):
            assert np.array_equal(document.tokens, np.concatenate([pair.prompt, answer]))
            assert document.loss.tolist() == [0] * len(pair.prompt) + [1] * len(answer)
        assert documents.lengths[entry] == sum(len(document.tokens) for document in sides)
    assert documents.index["differs_in"].to_pylist() == [pair.record["differs_in"] for pair in pairs]


def test_ids_of_another_type_are_refused():
    content = io.BytesIO()
    np.save(content, np.zeros(3, np.int64))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as out:
        info = tarfile.TarInfo("a.tokens.npy")
        info.size = len(content.getvalue())
        content.seek(0)
        out.addfile(info, content)
    tar.seek(0)
    with pytest.raises(SetupError, match=r"a\.tokens\.npy holds .*<i8.*, not int32"):
        index_shard(tar, 0)


def test_a_target_is_the_next_token_of_the_same_document(small_build, opened):
    documents = opened(sorted(small_build.version.glob("shards/train-*.tar")))
    length = int(documents.lengths.max()) + 100
    packing = pack(documents.lengths, length, seed=0)
    sequences = [documents.read(packing.documents(s)) for s in range(2)]
    batch = batch_of(sequences, length, pad=7)
    target_of = dict(zip(batch.at_N.tolist(), batch.targets_N.tolist(), strict=True))
    document_of = dict(zip(batch.at_N.tolist(), batch.document_N.tolist(), strict=True))
    for b, held in enumerate(sequences):
        at = 0
        for document in held:
            for n in range(len(document.tokens)):
                here = b * length + at + n
                if n + 1 < len(document.tokens) and document.loss[n + 1]:
                    assert target_of.pop(here) == document.tokens[n + 1]
                    assert batch.documents[document_of[here]].key == document.key
            assert batch.tokens_BL[b, at : at + len(document.tokens)].tolist() == document.tokens.tolist()
            numbers = set(batch.documents_BL[b, at : at + len(document.tokens)].tolist())
            assert [batch.documents[n].key for n in numbers] == [document.key]
            at += len(document.tokens)
        assert set(batch.tokens_BL[b, at:].tolist()) <= {7}
        assert set(batch.documents_BL[b, at:].tolist()) <= {PADDING}
    assert not target_of


def test_modalities_are_those_of_the_vocabulary(vocabulary):
    ids = torch.arange(vocabulary.size)
    assert modality_of(ids, vocabulary.describe()).tolist() == vocabulary.modality(ids.numpy()).tolist()
