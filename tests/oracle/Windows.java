package oracle;

import static oracle.Functions.*;

import com.fasterxml.jackson.databind.JsonNode;
import org.apache.kafka.streams.kstream.*;

/** Windows of a case, and what is done in them. */
@SuppressWarnings({"unchecked", "rawtypes"})
final class Windows {
    static TimeWindows time(JsonNode w) {
        TimeWindows windows = TimeWindows.ofSizeAndGrace(ms(w, "size"), ms(w, "grace"));
        return w.has("advance") ? windows.advanceBy(ms(w, "advance")) : windows;
    }

    static SlidingWindows sliding(JsonNode w) {
        return SlidingWindows.ofTimeDifferenceAndGrace(ms(w, "diff"), ms(w, "grace"));
    }

    static SessionWindows session(JsonNode w) {
        return SessionWindows.ofInactivityGapAndGrace(ms(w, "gap"), ms(w, "grace"));
    }

    static JoinWindows join(JsonNode t) {
        JoinWindows w = JoinWindows.ofTimeDifferenceAndGrace(ms(t, "diff"), ms(t, "grace"));
        if (t.has("before")) w = w.before(ms(t, "before"));
        if (t.has("after")) w = w.after(ms(t, "after"));
        return w;
    }

    private static Materialized store(String name, JsonNode w, boolean count) {
        Materialized m = mat(name, count);
        return w.has("retention") ? m.withRetention(ms(w, "retention")) : m;
    }

    static KTable cogroup(CogroupedKStream<String, String> both, JsonNode t) {
        JsonNode w = t.get("window");
        Materialized m = store("store", w, false);
        return switch (w.get("type").asText()) {
            case "session" -> both.windowedBy(session(w)).aggregate(INIT, MERGE, m);
            case "sliding" -> both.windowedBy(sliding(w)).aggregate(INIT, m);
            default -> both.windowedBy(time(w)).aggregate(INIT, m);
        };
    }

    static KTable aggregate(KGroupedStream<String, String> g, JsonNode t, String name) {
        JsonNode w = t.get("window");
        String agg = t.get("agg").asText();
        boolean close = t.path("emit").asText("update").equals("close");
        Materialized m = store(name, w, agg.equals("count"));
        if (w.get("type").asText().equals("session")) {
            SessionWindowedKStream<String, String> k = g.windowedBy(session(w));
            if (close) k = k.emitStrategy(EmitStrategy.onWindowClose());
            return switch (agg) {
                case "count" -> k.count(m);
                case "reduce" -> k.reduce(REDUCE, m);
                case "aggregate" -> k.aggregate(INIT, AGG, MERGE, m);
                default -> throw new IllegalArgumentException(agg);
            };
        }
        TimeWindowedKStream<String, String> k;
        if (w.get("type").asText().equals("sliding")) k = g.windowedBy(sliding(w));
        else k = g.windowedBy(time(w));
        if (close) k = k.emitStrategy(EmitStrategy.onWindowClose());
        return switch (agg) {
            case "count" -> k.count(m);
            case "reduce" -> k.reduce(REDUCE, m);
            case "aggregate" -> k.aggregate(INIT, AGG, m);
            default -> throw new IllegalArgumentException(agg);
        };
    }

    private Windows() {}
}
