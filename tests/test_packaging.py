"""What is installed is what was tested: every version is pinned with its hashes."""

import re
import tomllib

from tests.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = (ROOT / "constraints.txt").read_text()
PINNED = {match[1]: match[0] for match in re.finditer(r"^([a-z0-9-]+)==(?:.*\\\n)*.*", PINS, re.MULTILINE)}


def canonical(requirement: str) -> str:
    """The name of a requirement as pins spell it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


def test_everything_that_is_required_is_pinned_with_hashes():
    required = {
        canonical(requirement)
        for requirements in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
        for requirement in requirements
    }
    assert required - {PROJECT["name"]} - set(PINNED) == set()
    assert [name for name, lines in PINNED.items() if "--hash=sha256:" not in lines] == []


def test_pins_name_no_package_index():
    assert not re.search(r"https?:|--(extra-)?index|--find-links| @ ", PINS)


def test_every_python_that_is_promised_is_declared():
    promised = [text.split(" :: ")[-1] for text in PROJECT["classifiers"] if "Python :: 3." in text]
    assert promised == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    assert "|".join(promised) in (ROOT / "Makefile").read_text()


def test_the_licence_travels_with_the_package():
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE", "NOTICE"]
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()
