"""What a providify container installs, from variables such as `VARCO_KAFKA_URL`.

The bus reads the variables of `VARCO_KAFKA_` and, before them, those of `VARCO_KAFKA_BUS_`; the
dead letter queue those of `VARCO_KAFKA_DLQ_`.
"""

from providify import Configuration, Provider

from varco_events import AbstractDeadLetterQueue, AbstractEventBus, ChannelManager
from varco_kafka._bus import KafkaEventBus
from varco_kafka._bus_settings import KafkaEventBusSettings
from varco_kafka._dead_letters import KafkaDeadLetterQueue, KafkaDeadLetterQueueSettings
from varco_kafka._topics import KafkaChannelManager


@Configuration
class KafkaConfiguration:
    """Binds bus, channel manager and dead letter queue to Kafka, as the environment says.

    `await container.ainstall(KafkaConfiguration)`. Start the bus when the consumers are
    registered; stop all three at the end.
    """

    @Provider(singleton=True)
    def bus(self, dead_letters: AbstractDeadLetterQueue) -> AbstractEventBus:
        """The bus, whose dead letters go to the queue that is bound."""
        return KafkaEventBus(KafkaEventBusSettings.of_part("BUS"), dead_letters=dead_letters)

    @Provider(singleton=True)
    def channels(self) -> ChannelManager:
        """The channels of the bus."""
        return KafkaChannelManager(KafkaEventBusSettings.of_part("BUS"))

    @Provider(singleton=True)
    def dead_letters(self) -> AbstractDeadLetterQueue:
        """The queue."""
        return KafkaDeadLetterQueue(KafkaDeadLetterQueueSettings.of_part("DLQ"))
