"""Tags, leases, garbage collection, differences of versions, and recordings that must be forgotten."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest

from pipeline.config.recipe import Recipe, load
from pipeline.inputs.listing import list_inputs
from pipeline.inputs.spooled_audio import SpooledAudio, scratch_folder
from pipeline.planning.plan import make_plan
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.synthesis.run import synthesize as made
from pipeline.versions import leases
from pipeline.versions.diff import difference
from pipeline.versions.forget import forgotten, purge, tombstone, versions_containing
from pipeline.versions.gc import collect, garbage, record_use
from pipeline.versions.leases import leased, live
from pipeline.versions.reader import Reference, open_version, tags_of, version_at, version_ids
from pipeline.versions.tags import tag
from pipeline.versions.verify import faults
from schemas.errors import SetupError
from schemas.turn import recording_key
from stages.decode.config import DecodeConfig
from stages.replies import Replies
from tests.paths import DEMO
from tests.pipeline.annotations import packed, planned
from tests.served import Answer, completion, serving
from tests.stages.annotated import two_who_talk


def turns(*names, words="the train to the city leaves at nine from platform"):
    """Two who talk in each recording, each turn in words of its own."""
    return {
        name: two_who_talk(
            name, 6, lambda n, name=name: {"text": f"{words} {name} {n} of {n * 7}", "groups": 37}
        )
        for name in names
    }


on_both = pytest.mark.parametrize("output", ["file", "s3"], indirect=True)


@pytest.fixture
def output(request, tmp_path):
    """Where datasets are kept: on disk, and `on_both` on S3 too."""
    kind = getattr(request, "param", "file")
    return str(tmp_path / "out") if kind == "file" else f"{request.getfixturevalue('bucket')}/out"


@pytest.fixture
def build(tmp_path, output):
    """Publishes a version of some recordings; its id."""

    def published(*names, **recipe):
        for old in (tmp_path / "in").glob("*"):
            if old.name not in names:
                old.unlink()
        return packed(planned(tmp_path, turns(*names), output=output, **recipe)).version

    return published


@pytest.fixture
def dataset(output):
    return Store(f"{output}/given")


def refuse(reason):
    return pytest.raises(SetupError, match=reason)


@on_both
def test_a_tag_refers_to_the_version_that_it_was_last_moved_to(dataset):
    tag(dataset, "good", "aaaa")
    tag(dataset, "good", "bbbb")
    tag(dataset, "good", "bbbb")
    assert tags_of(dataset) == {"good": "bbbb"}
    assert len(list(dataset.list("refs/good"))) == 2


@on_both
def test_a_tag_moves_only_from_what_was_expected(dataset):
    tag(dataset, "good", "aaaa", expected="none")
    with refuse("the tag good refers to aaaa, not none"):
        tag(dataset, "good", "bbbb", expected="none")
    with refuse("refers to aaaa, not cccc: nothing was changed"):
        tag(dataset, "good", "bbbb", expected="cccc")
    tag(dataset, "good", "bbbb", expected="aaaa")
    assert tags_of(dataset) == {"good": "bbbb"}


@on_both
def test_of_many_who_move_a_tag_from_the_same_version_one_wins(dataset):
    tag(dataset, "good", "0000")

    def move(number):
        try:
            tag(dataset, "good", f"v{number}", expected="0000")
        except SetupError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(move, range(32)))
    assert sum(won) == 1
    assert tags_of(dataset) == {"good": f"v{won.index(True)}"}


@pytest.mark.parametrize("name", ["", "a b", "../x", "3f2a91", "none", "-x"])
def test_a_name_that_could_be_mistaken_for_something_else_is_not_a_tag(tmp_path, name):
    with refuse("can't be a tag"):
        tag(Store(str(tmp_path)), name, "aaaa")


@on_both
def test_a_lease_is_renewed_while_it_is_held_and_deleted_at_the_end(dataset, monkeypatch):
    monkeypatch.setattr(leases, "LIFE", 0.6)
    monkeypatch.setattr(leases, "SKEW", 0.0)
    with leased(dataset):
        time.sleep(1.5)
        assert [lease.pid for lease in live(dataset, "build")] == [os.getpid()]
    assert live(dataset, "build") == []
    assert list(dataset.list("leases")) == []


def test_a_lease_of_a_killed_holder_expires(dataset, monkeypatch):
    lease = {"kind": "build", "host": "h", "pid": 1}
    dataset.put(layout.lease("build", 1, "1"), json.dumps(lease | {"until": time.time() + 1}).encode())
    dataset.put(layout.lease("build", 2, "2"), json.dumps(lease | {"until": time.time() - 3600}).encode())
    assert len(live(dataset, "build")) == 1, "clocks may differ by a minute"
    monkeypatch.setattr(leases, "SKEW", -5.0)
    assert live(dataset, "build") == []


@on_both
@pytest.mark.parametrize("kind", ["build", "removal"])
def test_leases_of_holders_that_were_killed_long_ago_are_deleted(dataset, kind):
    expired = time.time() - leases.SKEW - 3600
    abandoned = time.time() - leases.SKEW - leases.ABANDONED - 1
    for held in ("build", "removal"):
        for number, until in (("1", expired), ("2", abandoned)):
            lease = {"kind": held, "host": "h", "pid": 1, "until": until}
            dataset.put(layout.lease(held, int(number), number), json.dumps(lease).encode())
    dataset.put("leases/.DS_Store", b"Bud1")
    with leased(dataset, kind):
        pass
    left = {item.path for item in dataset.list("leases")} - {"leases/.DS_Store"}
    assert left == {layout.lease(held, 1, "1") for held in ("build", "removal")}, "they may be renewed yet"


@on_both
def test_builds_run_concurrently_and_removals_alone(dataset):
    with leased(dataset), leased(dataset):
        with refuse("in use by a build on"), leased(dataset, "removal"):
            pass
        assert live(dataset, "removal") == []
    with leased(dataset, "removal"):
        with refuse("in use by a removal on"), leased(dataset, "build"):
            pass
        with refuse("in use by another removal"), leased(dataset, "removal"):
            pass


def test_nothing_recent_is_garbage(build, dataset):
    build("a.wav", "b.wav")
    build("a.wav")
    assert list(garbage(dataset)) == []


def test_garbage_is_what_neither_a_tag_nor_a_recorded_use_needs(build, dataset):
    first, second, third = build("a.wav", "b.wav"), build("a.wav", "c.wav"), build("d.wav")
    tag(dataset, "good", first)
    found = {(item.kind, item.name) for item in garbage(dataset, days=0)}
    assert ("version", second) in found
    assert not {("version", first), ("version", third)} & found
    record_use(dataset, second, "training-1.json", b"{}")
    assert not [item for item in garbage(dataset, days=0) if item.kind == "version"]


@on_both
def test_collecting_keeps_the_other_versions_whole_with_the_annotations_they_list(build, dataset, command):
    first, second = build("a.wav", "b.wav"), build("c.wav", "d.wav")
    ledgers = set(version_at(dataset, second).manifest.ledgers)
    assert command("versions", "gc", dataset.uri, "--older-than", 0).code == 0
    assert version_ids(dataset) == sorted([first, second]), "without --delete nothing goes"
    done = command("versions", "gc", dataset.uri, "--older-than", 0, "--delete", "--json")
    said = json.loads(done.stdout)
    assert {g["name"] for g in said["garbage"] if g["kind"] == "version"} == {first}
    assert said["bytes"] > 0
    assert version_ids(dataset) == [second]
    assert list(faults(version_at(dataset, second))) == []
    assert {item.path for item in dataset.list("annotations")} == ledgers
    assert not [item for folder in ("packs", "surveys", "leases") for item in dataset.list(folder)]
    # What was collected comes again, the same.
    assert build("a.wav", "b.wav") == first
    assert list(faults(version_at(dataset, first))) == []


def test_while_a_build_is_running_nothing_is_collected(build, dataset):
    build("a.wav")
    build("b.wav")
    before = {item.path for item in dataset.list()}
    with leased(dataset), refuse("in use by a build"):
        collect(dataset, days=0)
    assert {item.path for item in dataset.list()} == before


def test_differences_are_reported_with_their_size(build, dataset, command):
    first = build("a.wav", "b.wav")
    second = build("b.wav", "c.wav", "d.wav", select={"seconds_min": 1.5})
    found = difference(version_at(dataset, first), version_at(dataset, second))
    assert found.recipe == {"select.seconds_min": (found.recipe["select.seconds_min"][0], 1.5)}
    assert (found.recordings.added_names, found.recordings.removed_names) == (["c.wav", "d.wav"], ["a.wav"])
    assert found.counts["recordings"] == (2, 3)
    assert found.counts["turns"] == (12, 18)
    assert found.hours["kept"][1] > found.hours["kept"][0] > 0
    assert found.models == {}
    assert found.stages == []
    shown = command("versions", "diff", f"{dataset.uri}@{first}", f"{dataset.uri}@{second}").stdout
    assert "+6 (+50.0%)" in shown
    assert "+ c.wav" in shown
    said = json.loads(command("versions", "diff", f"{dataset.uri}@{first}", dataset.uri, "--json").stdout)
    assert said["counts"]["recordings"] == [2, 3]


def test_a_version_does_not_differ_from_itself(build, dataset):
    version = version_at(dataset, build("a.wav"))
    found = difference(version, version)
    assert [*found.recipe, *found.inputs, *found.models, *found.stages, *found.mixture] == []
    assert all(a == b for a, b in [*found.counts.values(), *found.hours.values()])


def test_the_tag_command_moves_and_refuses(build, dataset, command):
    first, second = build("a.wav"), build("b.wav")
    assert command("versions", "tag", f"{dataset.uri}@{first}", "good", "--expect", "none").code == 0
    done = command("versions", "tag", f"{dataset.uri}@{second}", "good", "--expect", second[:8])
    assert done.code == 1
    assert f"refers to {first}, not {second}" in done.stderr
    assert command("versions", "tag", f"{dataset.uri}@{second}", "good", "--expect", first[:8]).code == 0
    assert open_version(Reference.parse(f"{dataset.uri}@good")).id == second


def test_the_versions_that_contain_a_recording_are_found(build, dataset, command):
    first, second = build("a.wav", "b.wav"), build("b.wav", "c.wav")
    assert {held.version for held in versions_containing(dataset, ["b.wav"])} == {first, second}
    (held,) = versions_containing(dataset, ["a.wav", "none.wav"])
    assert (held.version, held.recordings, held.turns) == (first, ("a.wav",), 6)
    assert held.samples > 0
    said = json.loads(command("versions", "show", dataset.uri, "--recording", "c.wav", "--json").stdout)
    assert [held["version"] for held in said["versions"]] == [second]


def test_what_was_made_of_a_recording_is_found_through_the_versions_that_contain_it(build, dataset, command):
    first, second = build("a.wav", "b.wav"), build("b.wav", "c.wav")
    record_use(dataset, first, "training-small.json", b'{"kind": "training"}')
    assert {held.version: held.trainings for held in versions_containing(dataset, ["b.wav"])} == {
        first: ("training-small.json",),
        second: (),
    }
    shown = command("versions", "show", dataset.uri, "--recording", "a.wav").stdout
    assert "training-small.json" in shown


def everything_said_of(dataset, recording):
    """Paths of the objects that name a recording or one of its words."""
    found = []
    for item in dataset.list():
        content = dataset.get(item.path)
        if item.path.endswith(".parquet"):
            with dataset.local(item.path) as path:
                content = str(pq.read_table(path).to_pylist()).encode()
        if recording.encode() in content:
            found.append(item.path)
    return found


@on_both
def test_a_forgotten_recording_is_left_out_and_then_deleted(build, dataset, command, tmp_path):
    first = build("a.wav", "secret.wav")
    listed = command("versions", "forget", dataset.uri, "secret.wav", "--json")
    assert json.loads(listed.stdout)["state"] == "listed"
    assert make_plan(load(tmp_path / "recipe.yaml")).id
    assert not list(dataset.list("forgotten"))

    said = json.loads(command("versions", "forget", dataset.uri, "secret.wav", "--confirm", "--json").stdout)
    assert (said["state"], said["deleted"]) == ("buried", [])
    assert version_ids(dataset) == [first], "the old version serves until there is a new one"

    second = build("a.wav", "secret.wav")
    assert second != first
    assert [r.id for r in make_plan(load(tmp_path / "recipe.yaml")).listing.recordings] == ["a.wav"]
    assert everything_said_of(dataset, "secret.wav")

    said = json.loads(command("versions", "forget", dataset.uri, "secret.wav", "--confirm", "--json").stdout)
    assert said["state"] == "purged"
    assert version_ids(dataset) == [second]
    assert everything_said_of(dataset, "secret.wav") == []
    assert list(faults(version_at(dataset, second))) == []
    assert build("a.wav", "secret.wav") == second

    again = command("versions", "forget", dataset.uri, "secret.wav", "--confirm")
    assert again.code == 0
    assert "no version contains" in again.stdout


TALK = [
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": "In the secret drawer."},
]


def test_a_forgotten_conversation_is_deleted_with_its_audio_and_all_replies(tmp_path, dataset):
    wav = DEMO / "monologues" / "LJ002-0020.wav"

    def answer(asked):
        return Answer(body=wav.read_bytes()) if "input" in asked["body"] else completion("In the secret box.")

    rows = [{"messages": TALK}, {"messages": TALK[:1]}]
    (tmp_path / "chats.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with serving(answer) as server:
        place = {"url": server.url, "model": "m", "budget": {"requests": 10}}
        synthesize = {
            "conversations": [str(tmp_path / "chats.jsonl")],
            "answers": place,
            "speech": {"server": place, "human_voices": ["a"], "assistant_voices": ["a"]},
        }
        values = {"name": "given", "output": str(tmp_path / "out"), "synthesize": synthesize}
        recipe = Recipe.model_validate(values)
        secret, other = (r.id for r in made(recipe, print).recordings)
        asked, spent = len(server.seen), Replies(dataset, layout.ANSWERS).spent
        tombstone(dataset, [secret])
        purge(dataset, [secret])
        name = secret.rpartition("/")[2]
        assert not [item.path for item in dataset.list() if name in item.path]
        assert [item.bytes for item in dataset.list(layout.ANSWERS)] == [0]
        assert Replies(dataset, layout.ANSWERS).spent == spent
        # The next build neither makes it again nor asks for what is there.
        again = made(recipe, print)
        assert (again.created, len(server.seen)) == (0, asked)
    assert [r.id for r in again.recordings if recording_key(r.id) not in forgotten(dataset)] == [other]


def test_a_tag_on_a_version_that_must_be_deleted_is_moved_first(build, dataset, command):
    first = build("a.wav", "b.wav")
    tag(dataset, "good", first)
    command("versions", "forget", dataset.uri, "b.wav", "--confirm")
    second = build("a.wav", "b.wav")
    done = command("versions", "forget", dataset.uri, "b.wav", "--confirm")
    assert done.code == 1
    assert "the tag good refers to" in done.stderr
    assert version_ids(dataset) == sorted([first, second])
    tag(dataset, "good", second)
    assert command("versions", "forget", dataset.uri, "b.wav", "--confirm").code == 0
    assert version_ids(dataset) == [second]


def test_decoded_audio_of_a_forgotten_recording_is_deleted(build, dataset, command, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.inputs.spooled_audio.tempfile.gettempdir", lambda: str(tmp_path))
    build("a.wav", "b.wav")
    listed = {item.id: item for item in list_inputs([str(tmp_path / "in")]).recordings}
    spools = {}
    for name, item in listed.items():
        audio = SpooledAudio(scratch_folder(None), DecodeConfig(), "any")
        spools[name] = audio.spool(item.recording("{}"))
        spools[name].touch()
    command("versions", "forget", dataset.uri, "b.wav", "--confirm")
    assert spools["b.wav"].exists()
    build("a.wav", "b.wav")
    assert command("versions", "forget", dataset.uri, "b.wav", "--confirm").code == 0
    assert spools["a.wav"].exists()
    assert not spools["b.wav"].exists()


def test_a_build_of_forgotten_recordings_alone_is_refused(build, dataset, command):
    build("a.wav")
    command("versions", "forget", dataset.uri, "a.wav", "--confirm")
    with refuse("all recordings of the inputs have been forgotten"):
        build("a.wav")
