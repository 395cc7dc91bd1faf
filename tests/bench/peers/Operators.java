// The peer of each operator: the topologies of `../operators` on Kafka Streams. Change both.
//
//   java -Dbrokers=… -Dapp=… -Dleft=… -Dright=… -Dout=… -Dstate=… -Dguarantee=at_least_once -Dn=… Operators CASE
//
// Reads the -Dn records of the inputs to their end, and what it sends itself by repartition topics, then prints one JSON
// line and ends. At-least-once: a transaction's markers would count among a topic's records.
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.GlobalKTable;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.SlidingWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.kstream.WindowedSerdes.SessionWindowedSerde;
import org.apache.kafka.streams.kstream.WindowedSerdes.TimeWindowedSerde;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

public class Operators {
    static final Duration WINDOW = Duration.ofSeconds(100), ADVANCE = Duration.ofSeconds(20), PAUSE = Duration.ofSeconds(50);
    static final Duration APART = Duration.ofSeconds(20), GRACE = Duration.ofSeconds(10), HISTORY = Duration.ofSeconds(600);
    static final Serde<byte[]> BYTES = Serdes.ByteArray(), COUNTED = Serdes.serdeFrom(new ByteArraySerializer(), new Taken());
    static final Serde<Long> LONG = Serdes.Long(), OUT_LONG = Serdes.serdeFrom(new Sent<>(LONG.serializer()), LONG.deserializer());
    static final Serde<byte[]> OUT_BYTES = Serdes.serdeFrom(new Sent<>(BYTES.serializer()), BYTES.deserializer());

    public static void main(String[] args) throws Exception {
        StreamsBuilder builder = new StreamsBuilder();
        topology(builder, args[0]);
        KafkaStreams streams = new KafkaStreams(builder.build(), properties());
        streams.setStateListener((now, old) -> {
            if (now == KafkaStreams.State.ERROR) Runtime.getRuntime().halt(3);
        });
        streams.start();
        run(streams);
        System.exit(0);
    }

    static Properties properties() {
        Properties p = Streams.properties();
        // The records' time is not the clock's: a broker would take what windows keep for outdated.
        p.put(StreamsConfig.topicPrefix("retention.ms"), "-1");
        // How often Streams looks for what closes and for records without a partner, by hand: 1000 by itself.
        String look = System.getProperty("look_ms");
        if (look != null) {
            p.put(StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_OUTER_JOIN_SPURIOUS_RESULTS_FIX, Long.valueOf(look));
            p.put(StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_WINDOWED_AGGREGATION, Long.valueOf(look));
        }
        return p;
    }

    // === the cases ===

    static void topology(StreamsBuilder builder, String name) {
        switch (name) {
            case "stateless" -> left(builder)
                .filter((key, value) -> number(value) % 4 != 0)
                .map((key, value) -> KeyValue.pair(reference(value), Arrays.copyOfRange(value, 22, 62)))
                .flatMapValues(value -> List.of(Arrays.copyOfRange(value, 0, 20), Arrays.copyOfRange(value, 20, 40)))
                .to(out(), Produced.with(BYTES, OUT_BYTES));
            case "repartition" -> counts(left(builder)
                .groupBy((key, value) -> reference(value), Grouped.with(BYTES, BYTES))
                .count(Materialized.<byte[], Long, KeyValueStore<Bytes, byte[]>>as("counts").withKeySerde(BYTES).withValueSerde(LONG)));
            case "reduce" -> grouped(builder)
                .reduce((most, value) -> Arrays.compareUnsigned(most, value) > 0 ? most : value, bytes("most"))
                .toStream().to(out(), Produced.with(BYTES, OUT_BYTES));
            case "aggregate" -> counts(grouped(builder).aggregate(() -> 0L, (key, value, sum) -> sum + number(value),
                Materialized.<byte[], Long, KeyValueStore<Bytes, byte[]>>as("sums").withKeySerde(BYTES).withValueSerde(LONG)));
            case "tumbling" -> windows(tumbling(builder));
            case "hopping" -> windows(grouped(builder)
                .windowedBy(TimeWindows.ofSizeWithNoGrace(WINDOW).advanceBy(ADVANCE)).count(windowed()));
            case "sliding" -> windows(grouped(builder)
                .windowedBy(SlidingWindows.ofTimeDifferenceWithNoGrace(PAUSE)).count(windowed()));
            case "session" -> grouped(builder)
                .windowedBy(SessionWindows.ofInactivityGapWithNoGrace(PAUSE))
                .count(Materialized.<byte[], Long, SessionStore<Bytes, byte[]>>as("counts").withKeySerde(BYTES).withValueSerde(LONG))
                .toStream().to(out(), Produced.with(new SessionWindowedSerde<>(BYTES), OUT_LONG));
            case "suppress" -> windows(tumbling(builder)
                .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()).withName("final")));
            case "on-close" -> windows(grouped(builder)
                .windowedBy(TimeWindows.ofSizeWithNoGrace(WINDOW)).emitStrategy(EmitStrategy.onWindowClose()).count(windowed()));
            case "cogroup" -> counts(grouped(builder)
                .<Long>cogroup((key, value, sum) -> sum + number(value))
                .cogroup(right(builder).groupByKey(Grouped.with(BYTES, BYTES)), (key, value, sum) -> sum - number(value))
                .aggregate(() -> 0L,
                    Materialized.<byte[], Long, KeyValueStore<Bytes, byte[]>>as("sums").withKeySerde(BYTES).withValueSerde(LONG)));
            case "grouped-table" -> counts(table(builder, "left")
                .groupBy((key, value) -> KeyValue.pair(reference(value), number(value)), Grouped.with(BYTES, LONG))
                .aggregate(() -> 0L, (key, value, sum) -> sum + value, (key, value, sum) -> sum - value,
                    Materialized.<byte[], Long, KeyValueStore<Bytes, byte[]>>as("sums").withKeySerde(BYTES).withValueSerde(LONG)));
            case "stream-stream" -> left(builder)
                .join(right(builder), Operators::joined, JoinWindows.ofTimeDifferenceAndGrace(APART, GRACE),
                    StreamJoined.with(BYTES, BYTES, BYTES).withName("pairs"))
                .to(out(), Produced.with(BYTES, OUT_BYTES));
            case "stream-stream-left" -> left(builder)
                .leftJoin(right(builder), Operators::joined, JoinWindows.ofTimeDifferenceAndGrace(APART, GRACE),
                    StreamJoined.with(BYTES, BYTES, BYTES).withName("pairs"))
                .to(out(), Produced.with(BYTES, OUT_BYTES));
            case "stream-stream-outer" -> left(builder)
                .outerJoin(right(builder), Operators::joined, JoinWindows.ofTimeDifferenceAndGrace(APART, GRACE),
                    StreamJoined.with(BYTES, BYTES, BYTES).withName("pairs"))
                .to(out(), Produced.with(BYTES, OUT_BYTES));
            case "stream-table" -> left(builder)
                .join(table(builder, "right"), Operators::joined, Joined.with(BYTES, BYTES, BYTES))
                .to(out(), Produced.with(BYTES, OUT_BYTES));
            case "stream-table-left" -> left(builder)
                .leftJoin(table(builder, "right"), Operators::joined, Joined.with(BYTES, BYTES, BYTES))
                .to(out(), Produced.with(BYTES, OUT_BYTES));
            case "stream-global" -> left(builder)
                .join(global(builder), (key, value) -> reference(value), Operators::joined)
                .to(out(), Produced.with(BYTES, OUT_BYTES));
            case "stream-global-left" -> left(builder)
                .leftJoin(global(builder), (key, value) -> reference(value), Operators::joined)
                .to(out(), Produced.with(BYTES, OUT_BYTES));
            case "stream-versioned" -> left(builder)
                .join(versioned(builder), Operators::joined, Joined.with(BYTES, BYTES, BYTES, "met", GRACE))
                .to(out(), Produced.with(BYTES, OUT_BYTES));
            case "stream-versioned-left" -> left(builder)
                .leftJoin(versioned(builder), Operators::joined, Joined.with(BYTES, BYTES, BYTES, "met", GRACE))
                .to(out(), Produced.with(BYTES, OUT_BYTES));
            case "table-table" -> rows(table(builder, "left").join(table(builder, "right"), Operators::joined));
            case "table-table-left" -> rows(table(builder, "left").leftJoin(table(builder, "right"), Operators::joined));
            case "table-table-outer" -> rows(table(builder, "left").outerJoin(table(builder, "right"), Operators::joined));
            case "foreign-key" -> rows(table(builder, "left")
                .join(table(builder, "right"), Operators::reference, Operators::joined));
            case "foreign-key-left" -> rows(table(builder, "left")
                .leftJoin(table(builder, "right"), Operators::reference, Operators::joined));
            default -> throw new IllegalArgumentException(name);
        }
    }

    static String out() { return Streams.need("out"); }

    static KStream<byte[], byte[]> left(StreamsBuilder builder) {
        return builder.stream(Streams.need("left"), Consumed.with(COUNTED, BYTES));
    }

    static KStream<byte[], byte[]> right(StreamsBuilder builder) {
        return builder.stream(Streams.need("right"), Consumed.with(COUNTED, BYTES));
    }

    static KGroupedStream<byte[], byte[]> grouped(StreamsBuilder builder) {
        return left(builder).groupByKey(Grouped.with(BYTES, BYTES));
    }

    static KTable<byte[], byte[]> table(StreamsBuilder builder, String side) {
        return builder.table(Streams.need(side), Consumed.with(COUNTED, BYTES), bytes(side));
    }

    /** Read by a thread of its own, before the first record of the stream. */
    static GlobalKTable<byte[], byte[]> global(StreamsBuilder builder) {
        return builder.globalTable(Streams.need("right"), Consumed.with(BYTES, BYTES), bytes("right"));
    }

    static KTable<byte[], byte[]> versioned(StreamsBuilder builder) {
        return builder.table(Streams.need("right"), Consumed.with(COUNTED, BYTES),
            Materialized.<byte[], byte[]>as(Stores.persistentVersionedKeyValueStore("right", HISTORY))
                .withKeySerde(BYTES).withValueSerde(BYTES));
    }

    static KTable<Windowed<byte[]>, Long> tumbling(StreamsBuilder builder) {
        return grouped(builder).windowedBy(TimeWindows.ofSizeWithNoGrace(WINDOW)).count(windowed());
    }

    static Materialized<byte[], byte[], KeyValueStore<Bytes, byte[]>> bytes(String name) {
        return Materialized.<byte[], byte[], KeyValueStore<Bytes, byte[]>>as(name).withKeySerde(BYTES).withValueSerde(BYTES);
    }

    static Materialized<byte[], Long, WindowStore<Bytes, byte[]>> windowed() {
        return Materialized.<byte[], Long, WindowStore<Bytes, byte[]>>as("counts").withKeySerde(BYTES).withValueSerde(LONG);
    }

    static void counts(KTable<byte[], Long> counts) {
        counts.toStream().to(out(), Produced.with(BYTES, OUT_LONG));
    }

    static void rows(KTable<byte[], byte[]> rows) {
        rows.toStream().to(out(), Produced.with(BYTES, OUT_BYTES));
    }

    static void windows(KTable<Windowed<byte[]>, Long> counts) {
        counts.toStream().to(out(), Produced.with(new TimeWindowedSerde<>(BYTES, WINDOW.toMillis()), OUT_LONG));
    }

    /** Of the record, in a value of it. */
    static long number(byte[] value) { return ByteBuffer.wrap(value).getLong(); }

    /** The other topic's key in a value. */
    static byte[] reference(byte[] value) { return Arrays.copyOfRange(value, 9, 9 + value[8]); }

    /** The numbers of both, or of what there is of them: zeros in place of a left one, nothing in place of a right one. */
    static byte[] joined(byte[] left, byte[] right) {
        byte[] both = new byte[right == null ? 8 : 16];
        if (left != null) System.arraycopy(left, 0, both, 0, 8);
        if (right != null) System.arraycopy(right, 0, both, 8, 8);
        return both;
    }

    // === the meter ===

    /** Notes records as Streams takes each from its buffer, without a node of its own in the topology. */
    static class Taken extends ByteArrayDeserializer {
        /** Written by the stream thread alone: records of the inputs, and with them those of the output. */
        static volatile long inputs, all;
        static volatile Sample first;

        @Override public byte[] deserialize(String topic, byte[] data) {
            if (inputs == 0) first = Sample.now();
            inputs++;
            all++;
            return data;
        }

        @Override public byte[] deserialize(String topic, Headers headers, byte[] data) { return deserialize(topic, data); }
    }

    /** Notes results: behind a repartition topic they come after the last input. */
    static class Sent<T> implements Serializer<T> {
        final Serializer<T> inner;

        Sent(Serializer<T> inner) { this.inner = inner; }

        @Override public byte[] serialize(String topic, T data) {
            Taken.all++;
            return inner.serialize(topic, data);
        }
    }

    record Sample(long ns, long cpu, long all) {
        static Sample now() { return new Sample(System.nanoTime(), Streams.OS.getProcessCpuTime(), Taken.all); }
    }

    /** How often it is looked whether anything was taken or sent: so exactly the end is known. */
    static final long LOOK_MS = 20;
    /** After so long without either the broker is asked whether there are any; that costs CPU, which does not count. */
    static final long QUIET_MS = 500;

    static void run(KafkaStreams streams) throws Exception {
        long n = Long.parseLong(Streams.need("n")), seen = 0;
        List<Sample> samples = new ArrayList<>();
        try (Admin admin = Admin.create(properties())) {
            for (long quiet = 0; ; quiet += LOOK_MS) {
                Thread.sleep(LOOK_MS);
                long all = Taken.all;
                if (all != seen) { seen = all; quiet = 0; samples.add(Sample.now()); }
                if (Taken.inputs >= n && quiet >= QUIET_MS) {
                    if (isAtEnd(admin)) break;
                    quiet = 0;
                }
            }
        }
        Streams.leave(streams);
        Sample first = Taken.first, last = samples.get(samples.size() - 1);
        // By what was taken and sent: behind a repartition topic most of the work comes when all inputs are taken.
        Sample half = samples.stream().filter(sample -> sample.all >= last.all / 2).findFirst().orElse(last);
        double wall = (last.ns - first.ns) / 1e9, cpu = (last.cpu - first.cpu) / 1e9, second = (last.cpu - half.cpu) / 1e9;
        System.out.printf("{\"records\":%d,\"wall_s\":%.3f,\"cpu_s\":%.3f,\"per_cpu_s\":%.0f,\"per_s\":%.0f,"
                + "\"second_half_per_cpu_s\":%.0f,\"total_cpu_s\":%.3f,\"peak_rss_mib\":%.1f,\"anon_rss_mib\":%.1f}%n",
            n, wall, cpu, n / cpu, n / wall, n * (1 - half.all / (double) last.all) / second, Streams.OS.getProcessCpuTime() / 1e9,
            Streams.mib("VmHWM:"), Streams.mib("RssAnon:"));
    }

    /** Whether everything is committed that is in the inputs and in the topics that the application sends itself. */
    static boolean isAtEnd(Admin admin) throws Exception {
        String app = Streams.need("app");
        Map<TopicPartition, OffsetAndMetadata> committed =
            admin.listConsumerGroupOffsets(app).partitionsToOffsetAndMetadata().get();
        List<String> own = admin.listTopics().names().get().stream()
            .filter(topic -> topic.startsWith(app + "-") && (topic.endsWith("-repartition") || topic.endsWith("-topic"))).toList();
        Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
        for (TopicDescription topic : admin.describeTopics(own).allTopicNames().get().values())
            topic.partitions().forEach(p -> asked.put(new TopicPartition(topic.name(), p.partition()), OffsetSpec.latest()));
        // Of the inputs -Dn is known to be taken.
        committed.keySet().forEach(partition -> asked.put(partition, OffsetSpec.latest()));
        for (Map.Entry<TopicPartition, ListOffsetsResultInfo> end : admin.listOffsets(asked).all().get().entrySet()) {
            OffsetAndMetadata at = committed.get(end.getKey());
            if ((at == null ? 0 : at.offset()) < end.getValue().offset()) return false;
        }
        return true;
    }
}
