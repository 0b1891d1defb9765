"""ELAN's annotations: tiers are speakers; what can't be used is set aside by line."""

import pytest

from schemas.companions import CompanionSegment, LineAside, read
from schemas.errors import DataError

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT FORMAT="3.0" VERSION="3.0">
  <HEADER TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR MEDIA_URL="file:///x/talk.wav"{origin}/></HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="500"/>
    <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1500"/>
    <TIME_SLOT TIME_SLOT_ID="ts3"/>
    <TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="2250"/>
  </TIME_ORDER>
"""
TIERS = """  <TIER TIER_ID="A@utt" PARTICIPANT="Anna" LINGUISTIC_TYPE_REF="utt">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
      <ANNOTATION_VALUE>hello &amp;
 there</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER TIER_ID="Bob">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts4">
      <ANNOTATION_VALUE></ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
      <ANNOTATION_VALUE>lost</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER TIER_ID="A@words" PARENT_REF="A@utt">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a4" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
      <ANNOTATION_VALUE>hello</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
</ANNOTATION_DOCUMENT>
"""


def annotation(text):
    return read("eaf", text, "talk.eaf", "talk.wav")


def test_tiers_are_speakers_and_those_that_depend_on_others_are_left_out():
    found = annotation(HEAD.format(origin="") + TIERS)
    assert found.segments == (
        CompanionSegment(0.5, 1.5, "Anna", None, "hello & there"),
        CompanionSegment(1.5, 2.25, "Bob"),
    )
    assert found.aside == (LineAside(18, "the annotation has no time of its own"),)


def test_times_are_those_of_the_media():
    found = annotation(HEAD.format(origin=' TIME_ORIGIN="250"') + TIERS)
    assert [s.start for s in found.segments] == [0.75, 1.75]


def test_a_file_that_ends_early_keeps_what_is_before():
    whole = HEAD.format(origin="") + TIERS
    found = annotation(whole[: whole.index('<TIER TIER_ID="Bob">')])
    assert [s.text for s in found.segments] == ["hello & there"]
    assert "can't be read as ELAN's XML" in found.aside[0].reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<html></html>", "it is not a file of ELAN"),
        ("no XML", "can't be read as ELAN's XML"),
        ('<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>', "it declares entities"),
    ],
)
def test_what_is_no_file_of_elan_is_told(text, reason):
    with pytest.raises(DataError, match=reason):
        annotation(text)
