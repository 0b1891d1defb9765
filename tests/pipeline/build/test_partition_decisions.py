"""Duplicates and caps hold over all partitions: what an earlier one keeps stays, and the later ones yield."""

import json
import random
from collections import defaultdict

import pytest

from pipeline.build.partitions import build_partitions, chosen, planned
from pipeline.build.run import build
from pipeline.config.recipe import load
from pipeline.pack.groups import cut, needs_ray
from pipeline.pack.run import decided_groups
from pipeline.planning.plan import make_plan
from pipeline.storage.store import Store
from pipeline.versions.gc import garbage
from pipeline.versions.reader import Reference, open_version, version_at
from pipeline.versions.verify import faults
from schemas.errors import SetupError
from schemas.hashing import hash_integer
from schemas.turn import recording_key
from stages.mixture import CAP_WINDOW_SECONDS
from stages.select import text_item
from tests.pipeline.annotations import commit, recipe_of
from tests.stages.annotated import a_turn

A, B, C = "a/one.wav", "b/two.wav", "c/three.wav"
DUPLICATES = {"select": {"duplicates": {"recordings": True, "texts": True}}}


def words(draw, count=50):
    return " ".join(f"w{draw.randrange(9999)}" for _ in range(count))


def recording(name, *texts, sidecar=None):
    """A recording that says these texts, one every five seconds."""
    return [
        a_turn(start=5.0 * n, end=5.0 * n + 4.5, index=n, recording=name, text=text, sidecar=sidecar)
        for n, text in enumerate(texts)
    ]


def partitioned(folder, turns, **recipe):
    """The recipe of a build in partitions whose recordings, all in `turns`, are annotated."""
    loaded = load(recipe_of(folder, turns, partitions={"folders": 1}, **recipe))
    for partition in chosen(loaded, ()):
        commit(planned(loaded, partition), turns)
    return loaded


def opened(recipe):
    return open_version(Reference(recipe.output, recipe.name))


def rows(version, table):
    with version.table(table) as opened_table:
        return opened_table.to_table().to_pylist()


def kept(version):
    """(recording, number of the turn) of each turn that is kept."""
    return {
        (row["recording"], row["index"]) for row in rows(version, "turns") if row["status"] != "set_aside"
    }


def reasons(version):
    return {
        (row["recording"], row["turn"]): (row["code"], row["message"]) for row in rows(version, "set_aside")
    }


def named(recording, turn=0):
    """What a turn of a recording is called in the partitions after its own."""
    return f"{recording_key(recording)}-{turn:05d} in the partition {recording[0]}"


def ids(built):
    return {part.partition: part.version for part in built.manifest.parts}


class TestDuplicates:
    def test_what_is_said_in_an_earlier_partition_is_set_aside_with_the_turn_that_says_it(self, tmp_path):
        one, two, three = (words(random.Random(n)) for n in range(3))
        edited = one.rpartition(" ")[0] + " other"
        turns = {A: recording(A, one), B: recording(B, two, edited), C: recording(C, edited, two, three)}
        recipe = partitioned(tmp_path, turns, **DUPLICATES)
        build_partitions(recipe)
        version = opened(recipe)
        assert kept(version) == {(A, 0), (B, 0), (C, 2)}
        told = reasons(version)
        assert told.keys() == {(B, 1), (C, 0), (C, 1)}
        assert {code for code, _ in told.values()} == {"duplicate_text"}
        expected = [f"nearly the same words as {named(name)}" for name in (A, A, B)]
        assert [told[place][1] for place in ((B, 1), (C, 0), (C, 1))] == expected
        assert version.manifest.set_aside == {"select/duplicate_text": 3}
        assert list(faults(version)) == []

    def test_a_partition_of_many_units_is_compared_in_tasks(self, tmp_path):
        texts = [words(random.Random(n)) for n in range(25)]
        turns = {name: recording(name, text) for name, text in zip((A, B), texts[3:5], strict=True)}
        turns |= {f"c/{n}.wav": recording(f"c/{n}.wav", text) for n, text in enumerate(texts)}
        recipe = partitioned(tmp_path, turns, units={"recordings": 1}, **DUPLICATES)
        assert needs_ray(cut(planned(recipe, chosen(recipe, ["c"])[0])))
        build_partitions(recipe)
        told = {place: message for place, (_, message) in reasons(opened(recipe)).items() if place[1] == 0}
        assert {name: message.rpartition(" as ")[2] for (name, _), message in told.items()} == {
            "c/3.wav": named(A),
            "c/4.wav": named(B),
        }

    def test_a_copy_of_a_recording_is_set_aside_whole(self, tmp_path):
        texts = {name: [words(random.Random(f"{name}{n}")) for n in range(2)] for name in (A, B, C)}
        same = {"sha256": "same"}
        turns = {name: recording(name, *texts[name], sidecar=same) for name in (B, C)}
        turns[A] = recording(A, *texts[A])
        recipe = partitioned(tmp_path, turns, **DUPLICATES)
        build_partitions(recipe)
        version = opened(recipe)
        assert {name for name, _ in kept(version)} == {A, B}
        assert reasons(version)[C, None] == (
            "duplicate_recording",
            f"the same recording as {recording_key(B)} in the partition b",
        )

    def test_of_duplicates_in_one_partition_all_yield_and_name_the_earlier(self, tmp_path):
        text = words(random.Random(0))
        turns = {A: recording(A, text), **{f"b/{n}.wav": recording(f"b/{n}.wav", text) for n in range(3)}}
        recipe = partitioned(tmp_path, turns, **DUPLICATES)
        build_partitions(recipe)
        told = reasons(opened(recipe))
        assert len(told) == 3 + 3  # of turns and of recordings without any other turn
        assert all(named(A) in message for (_, turn), (_, message) in told.items() if turn is not None)


def test_the_hours_of_a_speaker_are_used_up_by_the_earlier_partitions(tmp_path):
    draw = random.Random(0)
    turns = {
        name: recording(name, *(words(draw) for _ in range(6)), sidecar={"speaker": speaker})
        for name, speaker in ((A, "ann"), (B, "ann"), (C, "ann"), ("c/four.wav", "bob"))
    }
    recipe = partitioned(tmp_path, turns, mixture={"speaker_hours_max": 40 / 3600})
    build_partitions(recipe)
    version = opened(recipe)
    of = defaultdict(int)
    for name, _ in kept(version):
        of[name] += 1
    assert of == {A: 6, B: 2, "c/four.wav": 6}  # of 4.5 s: 36 s of Ann, 27 s of Bob
    assert version.manifest.set_aside["select/over_speaker_cap"] == 10


def naively_kept(turns, speaker_seconds):
    """The rule in a few lines: partition by partition, duplicates of what is kept, then the speakers' caps.

    Texts are either unlike, or so much alike that signatures leave no doubt.
    """
    kept, signatures, used = set(), [], defaultdict(float)
    for folder in sorted({name.split("/")[0] for name in turns}):
        own = [turn for name in turns if name.startswith(f"{folder}/") for turn in turns[name]]
        item = {turn.key: text_item(turn.key, turn.transcript.text, 8) for turn in own}
        left = []
        for turn in sorted(own, key=lambda turn: (item[turn.key].content, turn.key)):
            mine = item[turn.key].signature
            others = [*signatures, *(item[other.key].signature for other in left)]
            if not any((mine == other).mean() >= 0.8 for other in others):
                left.append(turn)

        def drawn(turn):
            window = turn.turn.start // CAP_WINDOW_SECONDS
            return hash_integer(f"mixture:{turn.recording} {window}"), turn.key

        seconds = used.copy()
        for turn in sorted(left, key=drawn):
            who = turn.metadata["speaker"]
            seconds[who] += turn.turn.end - turn.turn.start
            if seconds[who] <= speaker_seconds:
                used[who] += turn.turn.end - turn.turn.start
                kept.add((turn.recording, turn.index))
                signatures.append(item[turn.key].signature)
    return kept


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_kept_is_the_rule_partition_by_partition(tmp_path, seed):
    draw = random.Random(seed)
    said = [words(draw) for _ in range(12)]

    def text():
        known = draw.choice(said)
        return draw.choice([known, known.rpartition(" ")[0] + " other", words(draw)])

    turns = {
        f"{folder}/{n}.wav": recording(
            f"{folder}/{n}.wav", *(text() for _ in range(4)), sidecar={"speaker": draw.choice(["ann", "bob"])}
        )
        for folder in "abc"
        for n in range(3)
    }
    select = {"duplicates": {"texts": True}}
    recipe = partitioned(tmp_path, turns, select=select, mixture={"speaker_hours_max": 45 / 3600})
    build_partitions(recipe)
    version = opened(recipe)
    assert kept(version) == naively_kept(turns, 45)
    assert {"select/duplicate_text", "select/over_speaker_cap"} <= version.manifest.set_aside.keys()
    seconds = defaultdict(float)
    for name, _ in kept(version):
        seconds[turns[name][0].metadata["speaker"]] += 4.5
    assert max(seconds.values()) <= 45


def of_three(folder, more=(), a_says=()):
    """Each partition says a text of its own and one of the partition before it."""
    draw = random.Random(7)
    names = (A, B, C, *more)
    texts = [words(draw) for _ in names]
    turns = {name: recording(name, texts[n], texts[max(0, n - 1)]) for n, name in enumerate(names)}
    turns[A] = recording(A, texts[0], *a_says)
    return partitioned(folder, turns, **DUPLICATES), texts


class TestBuilds:
    def test_it_does_not_matter_when_each_is_built(self, tmp_path):
        at_once, _ = of_three(tmp_path / "at once")
        expected = ids(build_partitions(at_once))
        recipe, _ = of_three(tmp_path / "alone")
        for name in ("a", "b", "c"):
            built = build_partitions(recipe, [name])
        assert ids(built) == expected
        assert build_partitions(recipe).status == "nothing new"

    def test_a_new_partition_at_the_end_changes_no_other(self, tmp_path):
        recipe, _ = of_three(tmp_path)
        before = ids(build_partitions(recipe))
        packs = Store(recipe.output).directory / "given" / "partitions" / "c" / "packs"
        times = {path: path.stat().st_mtime_ns for path in packs.rglob("*")}
        grown, _ = of_three(tmp_path, more=("d/four.wav",))
        built = build_partitions(grown, ["d"])
        assert {**before, "d": ids(built)["d"]} == ids(built)
        assert opened(recipe).manifest.set_aside["select/duplicate_text"] == 3
        assert ids(build_partitions(grown)) == ids(built)
        assert {path: path.stat().st_mtime_ns for path in packs.rglob("*")} == times

    def test_one_whose_earlier_ones_are_not_built_is_annotated_and_names_them(self, tmp_path):
        recipe, _ = of_three(tmp_path)
        with pytest.raises(
            SetupError, match=r"not packed yet: c\. .* these aren't built: a, b\. Build them first"
        ):
            build_partitions(recipe, ["c"])
        with pytest.raises(SetupError, match=r"not packed yet: c\. .* these aren't built: b\."):
            build_partitions(recipe, ["a", "c"])
        assert list(ids(build_partitions(recipe, ["b"]))) == ["a", "b"]
        assert list(ids(build_partitions(recipe, ["c"]))) == ["a", "b", "c"]

    def test_an_empty_folder_is_not_waited_for(self, tmp_path):
        recipe, _ = of_three(tmp_path)
        (tmp_path / "in" / "0-empty").mkdir()
        assert list(ids(build_partitions(recipe, ["a"]))) == ["a"]

    def test_when_an_earlier_one_keeps_other_things_the_later_ones_are_packed_again(self, tmp_path):
        recipe, texts = of_three(tmp_path)
        first = build_partitions(recipe)
        changed, _ = of_three(tmp_path, a_says=[texts[2]])
        (tmp_path / "in" / A).write_bytes(b"it says more")
        changed, _ = of_three(tmp_path, a_says=[texts[2]])
        with pytest.raises(SetupError, match=r"partitions before b keep has changed .*: build without"):
            build_partitions(changed, ["a"])
        assert opened(recipe).id == first.manifest.version
        second = build_partitions(changed)
        assert ids(second)["b"] == ids(first)["b"]  # the same is set aside
        assert ids(second)["c"] != ids(first)["c"]
        assert reasons(opened(recipe))[C, 0][1].endswith(named(A, 1))

    def test_a_build_that_was_stopped_between_two_resumes(self, tmp_path):
        expected = ids(build_partitions(of_three(tmp_path / "other")[0]))
        recipe, _ = of_three(tmp_path / "stopped")

        def stop(line):
            if "partition c" in line:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build_partitions(recipe, on_progress=stop)
        assert ids(build_partitions(recipe)) == expected

    def test_what_later_partitions_depend_on_stays_as_long_as_the_version(self, tmp_path):
        recipe, _ = of_three(tmp_path)
        first = ids(build_partitions(recipe))["a"]
        dataset = Store(f"{recipe.output}/given/partitions/a")
        assert not [item for item in garbage(dataset, days=0) if item.kind == "version"]
        version = version_at(dataset, first)
        paths = [file.path for file in version.manifest.files if file.path.startswith("kept/")]
        assert paths == ["kept/recording.parquet", "kept/turn.parquet"]
        dataset.delete([version.path(path) for path in paths])
        grown, _ = of_three(tmp_path, more=("d/four.wav",))
        with pytest.raises(SetupError, match=f"{first} .*depend on what it keeps"):
            build_partitions(grown, ["d"])


def test_without_duplicates_and_caps_nothing_is_kept_for_others(tmp_path):
    turns = {name: recording(name, words(random.Random(name))) for name in (A, B)}
    recipe = partitioned(tmp_path, turns)
    (partition, _) = chosen(recipe, ())
    plan = planned(recipe, partition)
    assert plan.earlier is None
    assert decided_groups(plan)[1] == {}
    build_partitions(recipe, ["b"])  # before a
    build_partitions(recipe, ["a"])
    head = json.loads(Store(recipe.output).get(f"given/versions/{opened(recipe).id}/manifest.json"))
    for part in head["parts"]:
        assert part.keys() == {"partition", "version", "settings", "shards", "bytes"}


def test_a_build_at_once_keeps_nothing_for_others(tmp_path):
    turns = {name: recording(name, words(random.Random(name))) for name in (A, B)}
    plan = make_plan(load(recipe_of(tmp_path, turns, **DUPLICATES)))
    commit(plan, turns)
    assert not [file.path for file in build(plan).manifest.files if file.path.startswith("kept/")]
