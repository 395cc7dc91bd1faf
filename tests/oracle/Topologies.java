package oracle;

import static oracle.Functions.*;

import java.time.Duration;

import com.fasterxml.jackson.databind.JsonNode;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/** A case's topology, by its kind. */
@SuppressWarnings({"unchecked", "rawtypes"})
final class Topologies {
    static void finish(KTable table, JsonNode t, Sink sink) {
        boolean raw = t.path("also_raw").asBoolean(false);
        if (raw) sink.tap(table.toStream(), "raw");
        if (t.has("suppress")) sink.tap(table.suppress(suppressed(t.get("suppress"))).toStream(), raw ? "suppressed" : null);
        else if (!raw) sink.tap(table.toStream(), null);
    }

    /** A join of tables, which has a store where the case says the history of its versions. */
    static KTable<String, String> join(KTable<String, String> l, KTable<String, String> r, JsonNode t, String store) {
        boolean kept = t.has("store_history");
        Materialized m = mat(store, false, t);
        return switch (t.get("join").asText()) {
            case "inner" -> kept ? l.join(r, JOIN, m) : l.join(r, JOIN);
            case "left" -> kept ? l.leftJoin(r, JOIN, m) : l.leftJoin(r, JOIN);
            case "outer" -> kept ? l.outerJoin(r, JOIN, m) : l.outerJoin(r, JOIN);
            default -> throw new IllegalArgumentException(t.toString());
        };
    }

    static Suppressed suppressed(JsonNode s) {
        if (s.path("type").asText("").equals("until_window_closes"))
            return Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded());
        Suppressed.BufferConfig<?> bound = s.has("max_records") ? Suppressed.BufferConfig.maxRecords(s.get("max_records").asLong())
            : s.has("max_bytes") ? Suppressed.BufferConfig.maxBytes(s.get("max_bytes").asLong())
            : Suppressed.BufferConfig.unbounded();
        return Suppressed.untilTimeLimit(ms(s.get("ms")), bound);
    }

    static Topology build(JsonNode t, Sink sink) {
        StreamsBuilder b = new StreamsBuilder();
        String kind = t.get("kind").asText(), agg = t.path("agg").asText(), join = t.path("join").asText();
        switch (kind) {
            case "group_agg" -> {
                KStream<String, String> s = b.stream("in");
                if (t.path("rekey").asBoolean(false)) s = s.selectKey((k, v) -> v);
                KGroupedStream<String, String> g = s.groupByKey();
                finish(switch (agg) {
                    case "count" -> g.count(mat("store", true, t));
                    case "reduce" -> g.reduce(REDUCE, mat("store", false, t));
                    case "aggregate" -> g.aggregate(INIT, AGG, mat("store", false, t));
                    case "aggregate_delete" -> g.aggregate(INIT, AGG_DELETE, mat("store", false, t));
                    default -> throw new IllegalArgumentException(agg);
                }, t, sink);
            }
            case "windowed_agg" -> finish(Windows.aggregate(b.<String, String>stream("in").groupByKey(), t, "store"), t, sink);
            case "to_table" -> finish(b.<String, String>stream("in").toTable(mat("store", false, t)), t, sink);
            case "cogroup" -> {
                KGroupedStream<String, String> l = b.<String, String>stream("left").groupByKey(), r = b.<String, String>stream("right").groupByKey();
                CogroupedKStream<String, String> both = l.<String>cogroup(LEFT).cogroup(r, RIGHT);
                finish(t.has("window") ? Windows.cogroup(both, t) : both.aggregate(INIT, mat("store", false, t)), t, sink);
            }
            case "stream_stream_join" -> {
                KStream<String, String> l = b.stream("left"), r = b.stream("right");
                JoinWindows w = Windows.join(t);
                StreamJoined<String, String, String> j = StreamJoined.with(S, S, S).withStoreName("j");
                sink.tap(switch (join) {
                    case "inner" -> l.join(r, JOIN, w, j);
                    case "left" -> l.leftJoin(r, JOIN, w, j);
                    case "outer" -> l.outerJoin(r, JOIN, w, j);
                    default -> throw new IllegalArgumentException(join);
                }, null);
            }
            case "stream_table_join" -> {
                KStream<String, String> l = b.stream("left");
                if (t.path("global").asBoolean(false)) {
                    GlobalKTable<String, String> g = b.globalTable("right", mat("tbl", false));
                    KeyValueMapper<String, String, String> m = (k, v) -> before(v, ':');
                    sink.tap(join.equals("left") ? l.leftJoin(g, m, JOIN) : l.join(g, m, JOIN), null);
                } else {
                    KTable<String, String> r = b.table("right", src("tbl", t));
                    Joined<String, String, String> j = Joined.with(S, S, S);
                    if (t.has("grace")) j = j.withGracePeriod(ms(t.get("grace")));
                    sink.tap(join.equals("left") ? l.leftJoin(r, JOIN, j) : l.join(r, JOIN, j), null);
                }
            }
            case "table_table_join" -> {
                KTable<String, String> l = b.table("left", src("lt", t)), r = b.table("right", src("rt", t));
                finish(join(l, r, t, "joined"), t, sink);
            }
            case "fk_join" -> {
                KTable<String, String> l = b.table("left", src("lt", t)), r = b.table("right", src("rt", t));
                java.util.function.Function<String, String> fk = v -> before(v, '|');
                finish(join.equals("left") ? l.leftJoin(r, fk, JOIN) : l.join(r, fk, JOIN), t, sink);
            }
            case "table_group" -> {
                KTable<String, String> s = b.table("in", src("src", t));
                KeyValueMapper<String, String, KeyValue<String, String>> m = switch (t.get("group_by").asText()) {
                    case "key" -> (k, v) -> KeyValue.pair(k, v);
                    case "value" -> (k, v) -> KeyValue.pair(v, v);
                    case "split" -> (k, v) -> KeyValue.pair(k.substring(0, 1), k.substring(1, 2));
                    default -> throw new IllegalArgumentException(t.toString());
                };
                KGroupedTable<String, String> g = s.groupBy(m, Grouped.with(S, S));
                finish(switch (agg) {
                    case "count" -> g.count(mat("store", true, t));
                    case "reduce" -> g.reduce(REDUCE, SUBTRACT, mat("store", false, t));
                    case "aggregate" -> g.aggregate(INIT, AGG, SUB, mat("store", false, t));
                    default -> throw new IllegalArgumentException(agg);
                }, t, sink);
            }
            case "table_ops" -> {
                KTable<String, String> s = t.path("source_materialized").asBoolean(true) ? b.table("in", src("src", t)) : b.table("in");
                Predicate<String, String> even = (k, v) -> Integer.parseInt(v) % 2 == 0;
                finish(switch (t.get("op").asText()) {
                    case "filter_even" -> s.filter(even);
                    case "filter_even_mat" -> s.filter(even, mat("flt", false, t));
                    case "map_values" -> s.mapValues(v -> v + "!");
                    case "map_values_mat" -> s.mapValues(v -> v + "!", mat("map", false, t));
                    default -> throw new IllegalArgumentException(t.toString());
                }, t, sink);
            }
            case "kv_store", "ttl_store", "session_store", "versioned_store" -> {
                StoreBuilder<?> store = switch (kind) {
                    case "kv_store" -> Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("kv"), S, S);
                    case "ttl_store" -> Stores.windowStoreBuilder(Stores.persistentWindowStore("ws", ms(t.get("retention")),
                        ms(t.get("size")), t.path("retain_duplicates").asBoolean(false)), S, S);
                    case "session_store" -> Stores.sessionStoreBuilder(Stores.persistentSessionStore("ss", ms(t.get("retention"))), S, S);
                    default -> Stores.versionedKeyValueStoreBuilder(Stores.persistentVersionedKeyValueStore("vs", ms(t.get("history"))), S, S);
                };
                b.addStateStore(store);
                b.<String, String>stream("in").process((ProcessorSupplier) () -> new Script(kind, store.name(), sink), store.name());
            }
            case "punctuate" -> {
                boolean stream = t.get("type").asText().equals("stream");
                Duration every = ms(t.get("interval"));
                b.<String, String>stream("in").process((ProcessorSupplier) () -> new Processor<String, String, Void, Void>() {
                    public void init(ProcessorContext<Void, Void> c) {
                        c.schedule(every, stream ? PunctuationType.STREAM_TIME : PunctuationType.WALL_CLOCK_TIME,
                            ts -> sink.rec("punctuate").put("ts", ts));
                    }
                    public void process(Record<String, String> x) { sink.record("process", x); }
                });
            }
            case "chain" -> new Chain(b, t.get("ops")).tap(sink);
            default -> throw new IllegalArgumentException("kind " + kind);
        }
        return b.build();
    }

    private Topologies() {}
}
