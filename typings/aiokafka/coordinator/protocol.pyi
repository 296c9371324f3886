from typing import Self

from aiokafka import TopicPartition

class ConsumerProtocolMemberAssignment:
    @classmethod
    def decode(cls, data: bytes) -> Self: ...
    def partitions(self) -> list[TopicPartition]: ...
