package oracle;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** Random cases: {@link #makeCase} depends on its arguments only. */
final class Generator {
    /** The shares of the kinds; a family has its own dice. {@code windowed_*} and {@code chain_*} are of one kind each. */
    static final Map<String, Integer> WEIGHTS = new LinkedHashMap<>();
    static {
        Object[] w = {"group_agg", 5, "windowed_time", 14, "windowed_sliding", 8, "windowed_session", 12, "stream_stream_join", 14,
            "stream_table_join", 6, "table_table_join", 6, "fk_join", 6, "table_group", 8, "table_ops", 3, "to_table", 1, "cogroup", 2,
            "kv_store", 3, "ttl_store", 4, "session_store", 3, "versioned_store", 3, "punctuate", 2,
            "windowed_cogroup", 4, "table_ops_versioned", 2, "fk_join_versioned", 3, "chain_stream", 16, "chain_table", 10};
        for (int i = 0; i < w.length; i += 2) WEIGHTS.put((String) w[i], (Integer) w[i + 1]);
    }

    private static Dice dice(String kind, Random r, long ordinal) {
        return switch (kind) {
            case "windowed_time", "windowed_sliding", "windowed_session", "windowed_cogroup" -> new WindowCases(r, ordinal);
            case "stream_stream_join", "stream_table_join", "table_table_join", "fk_join", "fk_join_versioned" -> new JoinCases(r, ordinal);
            case "group_agg", "table_group", "table_ops", "table_ops_versioned", "to_table", "cogroup" -> new TableCases(r, ordinal);
            case "chain_stream", "chain_table" -> new ChainCases(r, ordinal);
            default -> new StoreCases(r, ordinal);
        };
    }

    /**
     * How many bytes a case may come to: where each update puts all before it into its value, and joins pair them, some steps more
     * are millions. One in some hundred is longer, and loses its last steps; whatever is left is compared whole.
     */
    static final int LINE_MAX = 400_000;

    /** So many steps stay, however long they are. */
    static final int STEPS_MIN = 5;

    static List<String> deck(List<String> kinds) {
        if (kinds != null) {
            List<String> d = new ArrayList<>();
            for (String k : kinds) {
                if (k.equals("windowed_agg")) d.addAll(List.of("windowed_time", "windowed_sliding", "windowed_session"));
                else if (k.equals("chain")) d.addAll(List.of("chain_stream", "chain_table"));
                else if (WEIGHTS.containsKey(k)) d.add(k);
                else System.err.println("kind not supported: " + k + " (known: " + WEIGHTS.keySet() + " and windowed_agg for the three windowed_*)");
            }
            if (d.isEmpty()) throw new IllegalArgumentException("no supported kind");
            return d;
        }
        List<String> d = new ArrayList<>();
        WEIGHTS.forEach((k, n) -> d.addAll(Collections.nCopies(n, k)));
        Collections.shuffle(d, new Random(42));
        return d;
    }

    static ObjectNode makeCase(String kind, long seed, int index, long ordinal) throws Exception {
        long mix = (seed * 0x9E3779B97F4A7C15L) ^ (index * 0xC2B2AE3D27D4EB4FL) ^ ((long) kind.hashCode() * 0x165667B19E3779F9L);
        mix = (mix ^ (mix >>> 31)) * 0xBF58476D1CE4E5B9L;
        Dice g = dice(kind, new Random(mix ^ (mix >>> 29)), ordinal);
        ObjectNode t = Oracle.JSON.createObjectNode();
        t.put("kind", topologyKind(kind));
        g.keys = g.keySet();
        if (g.p(0.5)) g.headed = g.pick(0.3, 0.6, 1.0);
        g.draw(kind, t);
        ArrayNode steps = g.steps;
        Execution.Result r = Execution.run(t, steps);
        ObjectNode c = node(kind, seed, index, t, steps, r);
        while (steps.size() > STEPS_MIN && Oracle.JSON.writeValueAsBytes(c).length > LINE_MAX) {
            int keep = Math.max(STEPS_MIN, steps.size() * 3 / 4);
            while (steps.size() > keep) steps.remove(steps.size() - 1);
            r = Execution.run(t, steps);
            c = node(kind, seed, index, t, steps, r);
        }
        return c;
    }

    /** What a kind that is drawn is called in a case. */
    private static String topologyKind(String kind) {
        if (kind.equals("windowed_cogroup")) return "cogroup";
        if (kind.startsWith("windowed_")) return "windowed_agg";
        if (kind.startsWith("chain_")) return "chain";
        return kind.endsWith("_versioned") ? kind.substring(0, kind.length() - "_versioned".length()) : kind;
    }

    static ObjectNode node(String kind, long seed, int index, ObjectNode t, ArrayNode steps, Execution.Result r) {
        ObjectNode c = Oracle.JSON.createObjectNode();
        c.put("id", "rnd-" + kind + "-" + seed + "-" + index);
        c.set("topology", t);
        c.put("source", "random, seed " + seed + " index " + index + ", executed on Kafka Streams " + version());
        ArrayNode s = c.putArray("steps");
        for (int i = 0; i < steps.size(); i++) ((ObjectNode) s.addObject().setAll((ObjectNode) steps.get(i))).set("out", r.outs.get(i));
        c.put("dropped_records_total", r.dropped);
        c.set("changelog", r.changelog);
        return c;
    }

    static String version() {
        return org.apache.kafka.common.utils.AppInfoParser.getVersion();
    }
}
