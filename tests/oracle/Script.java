package oracle;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.kstream.internals.SessionWindow;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.VersionedKeyValueStore;
import org.apache.kafka.streams.state.VersionedRecord;
import org.apache.kafka.streams.state.WindowStore;
import org.apache.kafka.streams.state.WindowStoreIterator;

/** Interprets the record value as a store command. */
final class Script implements Processor<String, String, Void, Void> {
    final String kind, store;
    final Sink sink;
    ProcessorContext<Void, Void> ctx;

    Script(String kind, String store, Sink sink) {
        this.kind = kind;
        this.store = store;
        this.sink = sink;
    }

    public void init(ProcessorContext<Void, Void> c) { ctx = c; }

    public void process(Record<String, String> x) {
        String[] c = x.value() == null ? new String[] {"NULL"} : x.value().split(" ");
        switch (kind) {
            case "kv_store" -> kv(ctx.getStateStore(store), x.key(), c);
            case "ttl_store" -> ttl(ctx.getStateStore(store), x, c);
            case "session_store" -> session(ctx.getStateStore(store), x.key(), c);
            default -> versioned(ctx.getStateStore(store), x, c);
        }
    }

    void kv(KeyValueStore<String, String> s, String k, String[] c) {
        switch (c[0]) {
            case "NULL" -> s.put(k, null);
            case "PUT" -> s.put(k, c[1]);
            case "GET" -> Sink.val(sink.rec("get"), "value", s.get(k));
            case "DEL" -> Sink.val(sink.rec("delete"), "value", s.delete(k));
            case "PIA" -> Sink.val(sink.rec("putIfAbsent"), "value", s.putIfAbsent(k, c[1]));
            case "RANGE" -> all("range", s.range(c[1], c[2]));
            case "RRANGE" -> all("reverseRange", s.reverseRange(c[1], c[2]));
            case "FROM" -> all("rangeFrom", s.range(c[1], null));
            case "TO" -> all("rangeTo", s.range(null, c[1]));
            case "ALL" -> all("all", s.all());
            case "RALL" -> all("reverseAll", s.reverseAll());
            case "PREFIX" -> all("prefixScan", s.prefixScan(c[1], Functions.S.serializer()));
            case "N" -> Sink.val(sink.rec("approximateNumEntries"), "value", s.approximateNumEntries());
            default -> throw new IllegalArgumentException(c[0]);
        }
    }

    void ttl(WindowStore<String, String> s, Record<String, String> x, String[] c) {
        switch (c[0]) {
            case "FETCH" -> {
                try (WindowStoreIterator<String> i = s.fetch(x.key(), Long.parseLong(c[1]), Long.parseLong(c[2]))) {
                    i.forEachRemaining(e -> Sink.val(sink.rec("fetch").put("start", e.key), "value", e.value));
                }
            }
            case "ALL" -> all("all", s.all());
            default -> s.put(x.key(), x.value(), x.timestamp());
        }
    }

    void session(SessionStore<String, String> s, String k, String[] c) {
        switch (c[0]) {
            case "PUT" -> s.put(win(k, c), c[3]);
            case "REMOVE" -> s.remove(win(k, c));
            case "FIND" -> all("findSessions", s.findSessions(k, Long.parseLong(c[1]), Long.parseLong(c[2])));
            case "FETCH" -> all("fetch", s.fetch(k));
            case "ONE" -> Sink.val(sink.rec("fetchSession"), "value", s.fetchSession(k, Long.parseLong(c[1]), Long.parseLong(c[2])));
            default -> throw new IllegalArgumentException(c[0]);
        }
    }

    static Windowed<String> win(String k, String[] c) {
        return new Windowed<>(k, new SessionWindow(Long.parseLong(c[1]), Long.parseLong(c[2])));
    }

    void versioned(VersionedKeyValueStore<String, String> s, Record<String, String> x, String[] c) {
        switch (c[0]) {
            case "NULL" -> Sink.val(sink.rec("putReturn"), "value", s.put(x.key(), null, x.timestamp()));
            case "PUT" -> Sink.val(sink.rec("putReturn"), "value", s.put(x.key(), c[1], x.timestamp()));
            case "DEL" -> version("delete", s.delete(x.key(), x.timestamp()));
            case "GET" -> version("get", s.get(x.key()));
            case "ASOF" -> version("asOf", s.get(x.key(), Long.parseLong(c[1])));
            default -> throw new IllegalArgumentException(c[0]);
        }
    }

    void version(String name, VersionedRecord<String> r) {
        ObjectNode n = Sink.val(sink.rec(name), "value", r == null ? null : r.value());
        if (r != null) n.put("ts", r.timestamp());
    }

    void all(String name, KeyValueIterator<?, String> it) {
        try (it) {
            it.forEachRemaining(e -> Sink.val(Sink.val(sink.rec(name), "key", e.key), "value", e.value));
        }
    }
}
