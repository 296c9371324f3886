"""Settings: what they refuse, what they hide, and where they come from."""

import pytest

from varco_kafka import KafkaChannelRefusedError, KafkaConfigError, KafkaEventBusSettings
from varco_kafka._settings import client_options


def test_a_password_is_shown_nowhere():
    settings = KafkaEventBusSettings(
        url="kafka+tls://ann:hunter2@one:9092,two:9092", password="hunter3", timeout=1
    )
    shown = repr(settings)
    assert "hunter" not in shown
    assert "***" in shown
    options = client_options(settings)
    assert options["bootstrap_servers"] == "one:9092,two:9092"
    assert options["sasl_plain_username"] == "ann"
    assert options["sasl_plain_password"] == "hunter3"
    assert options["security_protocol"] == "SASL_SSL"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", "redis://localhost"),
        ("url", "kafka://"),
        ("url", "kafka://ann:hunter2@host:9092?x=1"),
        ("sasl_mechanism", "GUESS"),
        ("timeout", 0),
        ("topic", "no place for a channel"),
        ("topic", "a/{channel}"),
        ("topic", "{channel}.{channel}"),
        ("start_at", "now"),
        ("compression", "zip"),
        ("replication", 0),
        ("group", ""),
        ("max_attempts", 0),
        ("retry_delay", -1),
    ],
)
def test_what_makes_no_sense_is_refused_and_named(name, value):
    with pytest.raises(KafkaConfigError, match=name) as caught:
        KafkaEventBusSettings(**{name: value})
    assert "hunter" not in str(caught.value)


def test_they_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("VARCO_KAFKA_URL", "kafka://one:9092")
    monkeypatch.setenv("VARCO_KAFKA_GROUP", "shared")
    monkeypatch.setenv("VARCO_KAFKA_BUS_GROUP", "shop")
    monkeypatch.setenv("VARCO_KAFKA_BUS_BROADCAST", "a.*, b")
    settings = KafkaEventBusSettings.of_part("BUS")
    assert (settings.servers, settings.group, settings.broadcast) == (
        "one:9092",
        "shop",
        ("a.*", "b"),
    )


def test_channels_and_topics_are_found_from_each_other():
    settings = KafkaEventBusSettings(topic="shop.{channel}.v1")
    assert settings.topic_of("orders") == "shop.orders.v1"
    assert settings.channel_of("shop.orders.v1") == "orders"
    assert settings.channel_of("shop.v1") is None
    assert settings.channel_of("somebody.else") is None
    for channel in ("", "a b", "x" * 250):
        if channel:
            with pytest.raises(KafkaChannelRefusedError, match="letters, digits"):
                settings.topic_of(channel)
