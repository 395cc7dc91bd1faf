package oracle;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.test.TestRecord;

/** Runs a case on Kafka Streams. */
final class Execution {
    static final class Result {
        final List<ArrayNode> outs = new ArrayList<>();
        long dropped;
        final ArrayNode changelog = Oracle.JSON.createArrayNode();
    }

    private static final ByteArrayDeserializer BYTES = new ByteArrayDeserializer();

    /** Of each thread its own, for a driver locks it; below {@link Oracle#state}, which is removed at the end. */
    private static final ThreadLocal<Path> STATE = ThreadLocal.withInitial(() -> {
        try {
            return Files.createTempDirectory(Oracle.state, "thread");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    });

    static Result run(JsonNode t, ArrayNode steps) {
        Sink sink = new Sink();
        Topology topo = Topologies.build(t, sink);
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, "app");
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "none:1");
        p.put(StreamsConfig.STATE_DIR_CONFIG, STATE.get().toString());
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0L);
        p.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        p.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        p.put(StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_OUTER_JOIN_SPURIOUS_RESULTS_FIX, 0L);
        p.put(StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_WINDOWED_AGGREGATION, 0L);
        Result r = new Result();
        try (TopologyTestDriver d = new TopologyTestDriver(topo, p, Instant.ofEpochMilli(0))) {
            Map<String, TestInputTopic<String, String>> in = new HashMap<>();
            for (JsonNode s : steps) {
                sink.now = Oracle.JSON.createArrayNode();
                if (s.has("advance_wall_ms")) d.advanceWallClockTime(Duration.ofMillis(s.get("advance_wall_ms").asLong()));
                else {
                    JsonNode x = s.get("in");
                    in.computeIfAbsent(x.get("topic").asText(), n -> d.createInputTopic(n, Functions.S.serializer(), Functions.S.serializer()))
                        .pipeInput(new TestRecord<>(text(x.get("key")), text(x.get("value")), headers(x.path("headers")), x.get("ts").asLong()));
                }
                r.outs.add(sink.now);
            }
            d.metrics().forEach((n, m) -> {
                if (n.name().equals("dropped-records-total")) r.dropped += ((Number) m.metricValue()).longValue();
            });
            for (String topic : new TreeSet<>(d.producedTopicNames()))
                for (TestRecord<byte[], byte[]> x : d.createOutputTopic(topic, BYTES, BYTES).readRecordsToList()) {
                    ObjectNode n = r.changelog.addObject();
                    n.put("topic", topic).put("key_hex", hex(x.key())).put("value_hex", hex(x.value()));
                    n.put("ts", x.timestamp());
                    ObjectNode h = Oracle.JSON.createObjectNode();
                    for (Header y : x.headers()) h.put(y.key(), hex(y.value()));
                    if (!h.isEmpty()) n.set("headers_hex", h);
                }
        }
        return r;
    }

    private static String hex(byte[] b) { return b == null ? null : HexFormat.of().formatHex(b); }

    private static Headers headers(JsonNode all) {
        Headers h = new RecordHeaders();
        for (JsonNode one : all) {
            String value = text(one.get(1));
            h.add(one.get(0).asText(), value == null ? null : value.getBytes(StandardCharsets.UTF_8));
        }
        return h;
    }

    private static String text(JsonNode n) { return n == null || n.isNull() ? null : n.asText(); }

    private Execution() {}
}
