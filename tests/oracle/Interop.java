package oracle;

import static oracle.Functions.S;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;
import org.apache.kafka.streams.state.ReadOnlySessionStore;
import org.apache.kafka.streams.state.ReadOnlyWindowStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.WindowStore;

/**
 * A Streams program on a real Kafka, of the kind {@code interop} of the cases: counts by key, by window and by session. It
 * starts with no state of its own, runs until it has committed all of its input, prints what its stores hold, and ends.
 * First it prints how many records it restored.
 */
final class Interop {
    static final Duration SIZE = Duration.ofSeconds(10), GAP = Duration.ofSeconds(5), GRACE = Duration.ofDays(1);
    private static final List<String> KEYS = List.of("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "é", "日本", "");

    static Topology topology(String in) {
        StreamsBuilder builder = new StreamsBuilder();
        KGroupedStream<String, String> grouped = builder.stream(in, Consumed.with(S, S)).groupByKey(Grouped.with(S, S));
        grouped.count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts").withKeySerde(S).withValueSerde(Serdes.Long()));
        grouped.windowedBy(TimeWindows.ofSizeAndGrace(SIZE, GRACE))
            .count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("windows").withKeySerde(S).withValueSerde(Serdes.Long()));
        grouped.windowedBy(SessionWindows.ofInactivityGapAndGrace(GAP, GRACE))
            .count(Materialized.<String, Long, SessionStore<Bytes, byte[]>>as("sessions").withKeySerde(S).withValueSerde(Serdes.Long()));
        return builder.build();
    }

    static int run(Map<String, String> options) throws Exception {
        String app = options.get("--app"), in = options.get("--in"), brokers = options.get("--brokers");
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, app);
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        p.put(StreamsConfig.STATE_DIR_CONFIG, Oracle.state.toString());
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0L);
        p.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        KafkaStreams streams = new KafkaStreams(topology(in), p);
        AtomicLong restored = new AtomicLong();
        CountDownLatch running = new CountDownLatch(1);
        streams.setGlobalStateRestoreListener(new StateRestoreListener() {
            public void onRestoreStart(TopicPartition at, String store, long from, long to) { }
            public void onBatchRestored(TopicPartition at, String store, long end, long records) { restored.addAndGet(records); }
            public void onRestoreEnd(TopicPartition at, String store, long total) { }
        });
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.RUNNING) running.countDown();
            if (now == KafkaStreams.State.ERROR) {
                System.err.println("Kafka Streams ended in ERROR");
                Runtime.getRuntime().halt(3);
            }
        });
        streams.start();
        running.await();
        Oracle.out.println(Oracle.JSON.createObjectNode().put("restored", restored.get()));
        untilAllIsCommitted(brokers, app, in);
        show(streams);
        streams.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
        return 0;
    }

    /** Positions are behind the records themselves, so that markers of transactions do not count as missing. */
    private static void untilAllIsCommitted(String brokers, String app, String in) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", brokers);
        try (Admin admin = Admin.create(p)) {
            int partitions = admin.describeTopics(List.of(in)).allTopicNames().get().get(in).partitions().size();
            Map<TopicPartition, OffsetSpec> ends = new HashMap<>();
            for (int i = 0; i < partitions; i++) ends.put(new TopicPartition(in, i), OffsetSpec.latest());
            while (true) {
                Map<TopicPartition, OffsetAndMetadata> committed = admin.listConsumerGroupOffsets(app).partitionsToOffsetAndMetadata().get();
                boolean all = true;
                for (var end : admin.listOffsets(ends).all().get().entrySet()) {
                    OffsetAndMetadata found = committed.get(end.getKey());
                    all &= end.getValue().offset() == 0 || found != null && found.offset() >= end.getValue().offset();
                }
                if (all) return;
                Thread.sleep(50);
            }
        }
    }

    private static void show(KafkaStreams streams) {
        ReadOnlyKeyValueStore<String, Long> counts = streams.store(StoreQueryParameters.fromNameAndType("counts", QueryableStoreTypes.keyValueStore()));
        try (KeyValueIterator<String, Long> all = counts.all()) {
            all.forEachRemaining(e -> show("counts", e.key, null, e.value));
        }
        ReadOnlyWindowStore<String, Long> windows = streams.store(StoreQueryParameters.fromNameAndType("windows", QueryableStoreTypes.windowStore()));
        try (KeyValueIterator<Windowed<String>, Long> all = windows.all()) {
            all.forEachRemaining(e -> show("windows", e.key.key(), e.key, e.value));
        }
        ReadOnlySessionStore<String, Long> sessions = streams.store(StoreQueryParameters.fromNameAndType("sessions", QueryableStoreTypes.sessionStore()));
        for (String key : KEYS) {
            try (KeyValueIterator<Windowed<String>, Long> all = sessions.fetch(key)) {
                all.forEachRemaining(e -> show("sessions", e.key.key(), e.key, e.value));
            }
        }
    }

    private static void show(String store, String key, Windowed<String> window, long value) {
        ObjectNode n = Oracle.JSON.createObjectNode().put("store", store).put("key", key);
        if (window != null) n.put("start", window.window().start()).put("end", window.window().end());
        Oracle.out.println(n.put("value", value));
    }

    private Interop() {}
}
