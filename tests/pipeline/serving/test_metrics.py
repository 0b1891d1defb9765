"""What /metrics says, read by Prometheus' own parser."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.serving.model import Limits, ServedModel
from tests.pipeline.tiny_server import SPOKEN, closing_connection, serving


def measured(client):
    """(name, labels) -> value"""
    status, text, headers = client.get("/metrics")
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_tokens_speech_and_times_are_counted(answerer, answer_vocoder):
    with serving(ServedModel("tiny", answerer, answer_vocoder, Limits(4000, 10, 1), rows=2)) as client:
        before = measured(client)
        assert (before["aqaa_serve_running",], before["aqaa_serve_batch",]) == (0, 2)
        usage = client.ask(**SPOKEN)["usage"]
        client.stream(**SPOKEN)
        client.post({"messages": []})
        with closing_connection(client.open(SPOKEN | {"max_completion_tokens": 4000})):
            client.until(busy=True)
            assert measured(client)["aqaa_serve_running",] == 1
        client.until(busy=False)
        after = measured(client)
    assert {status: after["aqaa_serve_requests_total", status] for status in ("200", "400", "499")} == {
        "200": 2,
        "400": 1,
        "499": 1,
    }
    audio = usage["completion_tokens_details"]["audio_tokens"]
    assert after["aqaa_serve_tokens_total", "answer", "audio"] == 2 * audio
    assert (
        after["aqaa_serve_tokens_total", "question", "text"]
        == 2 * usage["prompt_tokens_details"]["text_tokens"]
    )
    assert after["aqaa_serve_audio_seconds_total", "answer"] == pytest.approx(2 * audio / 5 * 0.12)
    for name in ("first_text", "first_sound", "total"):
        assert after[f"aqaa_serve_{name}_seconds_count",] == 2
    assert after["aqaa_serve_total_seconds_sum",] >= after["aqaa_serve_first_sound_seconds_sum",] > 0
