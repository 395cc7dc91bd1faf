package oracle;

import static oracle.Functions.*;

import java.util.Arrays;
import java.util.List;

import com.fasterxml.jackson.databind.JsonNode;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.*;

/** Operators in a row: each takes what the one before gives, a stream or a table. What has a name is called after its place. */
@SuppressWarnings({"unchecked", "rawtypes"})
final class Chain {
    private final StreamsBuilder builder;
    private KStream<String, String> stream;
    private KTable<String, String> table;
    /** What a stream was joined with last. */
    private KTable<String, String> joined;

    Chain(StreamsBuilder builder, JsonNode ops) {
        this.builder = builder;
        for (int at = 0; at < ops.size(); at++) add(ops.get(at), at);
    }

    void tap(Sink sink) { sink.tap(stream != null ? stream : table.toStream(), null); }

    private void add(JsonNode o, int at) {
        String op = o.get("op").asText();
        if (stream == null && table == null) source(op, o, at);
        else if (table != null) ofTable(op, o, at);
        else ofStream(op, o, at);
    }

    private void source(String op, JsonNode o, int at) {
        if (op.equals("table")) table = builder.table(o.get("topic").asText(), src("s" + at, o));
        else stream = builder.stream(o.get("topic").asText());
    }

    private void becomes(KStream<String, String> next) {
        stream = next;
        table = null;
    }

    private void becomes(KTable<String, String> next) {
        table = next;
        stream = null;
    }

    private void ofStream(String op, JsonNode o, int at) {
        String join = o.path("join").asText(), agg = o.path("agg").asText();
        switch (op) {
            case "filter" -> becomes(stream.filter((k, v) -> even(v)));
            case "map_values" -> becomes(stream.mapValues(v -> v + "!"));
            case "select_key" -> becomes(stream.selectKey((k, v) -> first(v)));
            case "flat_map_values" -> becomes(stream.flatMapValues(Chain::parts));
            case "repartition" -> becomes(stream.repartition(Repartitioned.with(S, S).withName("r" + at)));
            case "merge" -> becomes(stream.merge(builder.<String, String>stream(o.get("topic").asText())));
            case "join_stream" -> {
                KStream<String, String> right = o.has("topic") ? builder.stream(o.get("topic").asText()) : stream;
                StreamJoined<String, String, String> named = StreamJoined.with(S, S, S).withName("j" + at).withStoreName("j" + at);
                JoinWindows w = Windows.join(o);
                becomes(switch (join) {
                    case "left" -> stream.leftJoin(right, JOIN, w, named);
                    case "outer" -> stream.outerJoin(right, JOIN, w, named);
                    default -> stream.join(right, JOIN, w, named);
                });
            }
            case "join_table" -> {
                KTable<String, String> right = joined = o.has("topic") ? builder.table(o.get("topic").asText(), src("s" + at, o)) : joined;
                Joined<String, String, String> named = Joined.with(S, S, S, "j" + at);
                if (o.has("grace")) named = named.withGracePeriod(ms(o, "grace"));
                becomes(join.equals("left") ? stream.leftJoin(right, JOIN, named) : stream.join(right, JOIN, named));
            }
            case "join_global" -> {
                GlobalKTable<String, String> right = builder.globalTable(o.get("topic").asText(), mat("s" + at, false));
                KeyValueMapper<String, String, String> key = (k, v) -> first(v);
                becomes(join.equals("left") ? stream.leftJoin(right, key, JOIN) : stream.join(right, key, JOIN));
            }
            case "to_table" -> becomes(stream.toTable(Named.as("s" + at), mat("s" + at, false, o)));
            case "aggregate" -> {
                KGroupedStream<String, String> g = stream.groupByKey(Grouped.with(S, S));
                becomes(switch (agg) {
                    case "count" -> g.count(mat("s" + at, true, o)).mapValues(n -> n.toString());
                    case "reduce" -> g.reduce(REDUCE, mat("s" + at, false, o));
                    default -> g.aggregate(INIT, AGG, mat("s" + at, false, o));
                });
            }
            case "cogroup" -> {
                KGroupedStream<String, String> right = builder.<String, String>stream(o.get("topic").asText()).groupByKey();
                becomes((KTable) stream.groupByKey(Grouped.with(S, S)).<String>cogroup(LEFT).cogroup(right, RIGHT)
                    .aggregate(INIT, mat("s" + at, false, o)));
            }
            case "window" -> {
                KTable<Windowed<String>, Object> windows = Windows.aggregate(stream.groupByKey(Grouped.with(S, S)), o, "s" + at);
                if (o.has("with")) windows = (KTable) with(windows, o.get("with"), at);
                if (o.has("suppress")) windows = windows.suppress(Topologies.suppressed(o.get("suppress")).withName("h" + at));
                becomes(windows.toStream().map((w, v) -> KeyValue.pair(
                    w.key() + "@" + w.window().start() + "-" + w.window().end(), v == null ? null : v.toString())));
            }
            default -> throw new IllegalArgumentException("of a stream: " + op);
        }
    }

    /** With the windows of another aggregation: of the other topic, or of the same stream. */
    private KTable<Windowed<String>, String> with(KTable<Windowed<String>, Object> left, JsonNode o, int at) {
        KStream<String, String> other = o.has("topic") ? builder.stream(o.get("topic").asText()) : stream;
        KTable<Windowed<String>, Object> right = Windows.aggregate(other.groupByKey(Grouped.with(S, S)), o, "w" + at);
        if (o.path("mapped").asBoolean(false)) right = right.mapValues(v -> v + "!");
        ValueJoiner<Object, Object, String> join = (l, r) -> l + "+" + r;
        return switch (o.get("join").asText()) {
            case "left" -> left.leftJoin(right, join);
            case "outer" -> left.outerJoin(right, join);
            default -> left.join(right, join);
        };
    }

    private void ofTable(String op, JsonNode o, int at) {
        String join = o.path("join").asText(), agg = o.path("agg").asText();
        switch (op) {
            case "filter" -> becomes(o.has("store_history") ? table.filter((k, v) -> even(v), mat("m" + at, false, o)) : table.filter((k, v) -> even(v)));
            case "map_values" -> becomes(o.has("store_history") ? table.mapValues(v -> v + "!", mat("m" + at, false, o)) : table.mapValues(v -> v + "!"));
            case "to_stream" -> becomes(table.toStream());
            case "suppress" -> becomes(table.suppress(Topologies.suppressed(o).withName("h" + at)));
            case "group" -> {
                boolean key = o.get("by").asText().equals("key");
                KGroupedTable<String, String> g = table.groupBy((k, v) -> KeyValue.pair(key ? k : first(v), v), Grouped.with(S, S));
                becomes(switch (agg) {
                    case "count" -> g.count(mat("s" + at, true, o)).mapValues(n -> n.toString());
                    case "reduce" -> g.reduce(REDUCE, SUBTRACT, mat("s" + at, false, o));
                    default -> g.aggregate(INIT, AGG, SUB, mat("s" + at, false, o));
                });
            }
            case "join" -> {
                KTable<String, String> right = o.has("topic") ? builder.table(o.get("topic").asText(), src("s" + at, o)) : table;
                becomes(Topologies.join(table, right, o, "m" + at));
            }
            case "fk_join" -> {
                KTable<String, String> right = o.has("topic") ? builder.table(o.get("topic").asText(), src("s" + at, o)) : table;
                TableJoined<String, String> named = TableJoined.as("f" + at);
                Materialized m = o.path("store").asBoolean(false) ? mat("m" + at, false, o) : Materialized.with(S, S);
                becomes(join.equals("left") ? table.leftJoin(right, Chain::first, JOIN, named, m)
                    : table.join(right, Chain::first, JOIN, named, m));
            }
            default -> throw new IllegalArgumentException("of a table: " + op);
        }
    }

    /** Whether the text has an even number of UTF-16 units. */
    static boolean even(String v) { return v != null && v.length() % 2 == 0; }

    /** Its first character; null if it has none. */
    static String first(String v) { return v == null || v.isEmpty() ? null : Character.toString(v.codePointAt(0)); }

    static List<String> parts(String v) { return v == null ? List.of() : Arrays.asList(v.split("\\+", -1)); }
}
