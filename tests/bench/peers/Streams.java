// The peer: count by key on Kafka Streams, every update out. JDK 17 and the Kafka jars alone.
//
//   java -Dbrokers=… -Dapp=… -Din=… -Dout=… -Dstate=… -Dguarantee=at_least_once|exactly_once_v2 Streams count|serve|restore
//
// count: the -Dn records that the input holds, then ends. serve: until it is asked to end. restore: rebuilds the store and
// ends. `count` and `restore` print one JSON line.
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.KeyValueStore;

public class Streams {
    static final com.sun.management.OperatingSystemMXBean OS =
        (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    static String need(String key) { return Objects.requireNonNull(System.getProperty(key), "-D" + key); }

    public static void main(String[] args) throws Exception {
        boolean counts = args[0].equals("count");
        Taken.target = counts ? Long.parseLong(need("n")) : Long.MAX_VALUE;
        KafkaStreams streams = new KafkaStreams(topology().build(), properties());
        streams.setStateListener((now, old) -> {
            if (now == KafkaStreams.State.RUNNING) Taken.running.countDown();
            if (now == KafkaStreams.State.ERROR) Runtime.getRuntime().halt(3);
        });
        Restored restored = new Restored();
        streams.setGlobalStateRestoreListener(restored);
        switch (args[0]) {
            case "count" -> count(streams);
            case "serve" -> serve(streams);
            case "restore" -> restore(streams, restored);
            default -> throw new IllegalArgumentException(args[0]);
        }
        System.exit(0);
    }

    static Properties properties() {
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, need("app"));
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, need("brokers"));
        p.put(StreamsConfig.STATE_DIR_CONFIG, need("state"));
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, need("guarantee"));
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, need("guarantee").equals("at_least_once") ? "1000" : "100");
        // Every update comes out.
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0");
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "1");
        p.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        return p;
    }

    static StreamsBuilder topology() {
        Serde<byte[]> bytes = Serdes.ByteArray();
        Serde<byte[]> counted = Serdes.serdeFrom(new ByteArraySerializer(), new Taken());
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(need("in"), Consumed.with(counted, bytes))
            .groupByKey(Grouped.with(bytes, bytes))
            .count(Materialized.<byte[], Long, KeyValueStore<Bytes, byte[]>>as("counts")
                .withKeySerde(bytes).withValueSerde(Serdes.Long()))
            .toStream()
            .to(need("out"), Produced.with(bytes, Serdes.Long()));
        return builder;
    }

    /** Notes input records as Streams takes each from its buffer, without a node of its own in the topology. */
    static class Taken extends ByteArrayDeserializer {
        static long target, seen, firstNs, firstCpu, halfNs, halfCpu, lastNs, lastCpu;
        static final CountDownLatch running = new CountDownLatch(1), all = new CountDownLatch(1);

        @Override public byte[] deserialize(String topic, byte[] data) {
            seen++;
            if (seen == 1) { firstNs = System.nanoTime(); firstCpu = OS.getProcessCpuTime(); }
            if (seen == target / 2) { halfNs = System.nanoTime(); halfCpu = OS.getProcessCpuTime(); }
            if (seen == target) { lastNs = System.nanoTime(); lastCpu = OS.getProcessCpuTime(); all.countDown(); }
            return data;
        }

        @Override public byte[] deserialize(String topic, Headers headers, byte[] data) { return deserialize(topic, data); }
    }

    static void count(KafkaStreams streams) throws Exception {
        streams.start();
        Taken.all.await();
        try (Admin admin = Admin.create(properties())) {
            // The input holds n records and no markers.
            while (committed(admin) < Taken.target) Thread.sleep(50);
        }
        leave(streams);
        double wall = (Taken.lastNs - Taken.firstNs) / 1e9, cpu = (Taken.lastCpu - Taken.firstCpu) / 1e9;
        double half = (Taken.lastCpu - Taken.halfCpu) / 1e9;
        long n = Taken.target;
        System.out.printf("{\"records\":%d,\"wall_s\":%.3f,\"cpu_s\":%.3f,\"per_cpu_s\":%.0f,\"per_s\":%.0f,"
                + "\"second_half_per_cpu_s\":%.0f,\"total_cpu_s\":%.3f,\"peak_rss_mib\":%.1f,\"anon_rss_mib\":%.1f}%n",
            n, wall, cpu, n / cpu, n / wall, (n - n / 2) / half, OS.getProcessCpuTime() / 1e9, mib("VmHWM:"), mib("RssAnon:"));
    }

    static long committed(Admin admin) throws Exception {
        return admin.listConsumerGroupOffsets(need("app")).partitionsToOffsetAndMetadata().get().values().stream()
            .filter(Objects::nonNull).mapToLong(offset -> offset.offset()).sum();
    }

    static void serve(KafkaStreams streams) throws Exception {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> leave(streams)));
        streams.start();
        new CountDownLatch(1).await();
    }

    static class Restored implements StateRestoreListener {
        long firstNs, firstCpu, lastNs, lastCpu;
        final AtomicLong records = new AtomicLong();

        @Override public synchronized void onRestoreStart(TopicPartition partition, String store, long from, long to) {
            if (firstNs == 0) { firstNs = System.nanoTime(); firstCpu = OS.getProcessCpuTime(); }
        }

        @Override public void onBatchRestored(TopicPartition partition, String store, long end, long count) {
            records.addAndGet(count);
        }

        @Override public synchronized void onRestoreEnd(TopicPartition partition, String store, long total) {
            lastNs = System.nanoTime(); lastCpu = OS.getProcessCpuTime();
        }
    }

    static void restore(KafkaStreams streams, Restored restored) throws Exception {
        streams.start();
        Taken.running.await();
        leave(streams);
        double wall = (restored.lastNs - restored.firstNs) / 1e9, cpu = (restored.lastCpu - restored.firstCpu) / 1e9;
        long n = restored.records.get();
        System.out.printf("{\"records\":%d,\"wall_s\":%.3f,\"cpu_s\":%.3f,\"per_cpu_s\":%.0f,\"per_s\":%.0f,"
            + "\"total_cpu_s\":%.3f,\"peak_rss_mib\":%.1f}%n", n, wall, cpu, n / cpu, n / wall,
            OS.getProcessCpuTime() / 1e9, mib("VmHWM:"));
    }

    /** Leaves the group at once, so that the next start does not wait for the session to end. */
    static void leave(KafkaStreams streams) {
        streams.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
    }

    static double mib(String field) {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/self/status")))
                if (line.startsWith(field)) return Long.parseLong(line.replaceAll("\\D", "")) / 1024.0;
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
        return 0;
    }
}
