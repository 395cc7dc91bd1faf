package oracle;

import java.util.Random;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** Operators in a row: from a stream or a table, two to four that keep state or change keys. */
final class ChainCases extends Dice {
    private ArrayNode ops;
    private boolean table, right, versioned, joined;

    /** Whether records on their way have gone through a topic of the application's own, or wait in a suppression. */
    private boolean internal, suppressed;

    /** Whether several rows may change in a step; and one row several times. */
    private boolean many, several;

    /**
     * Whether a record may have been let go by another one: it comes from elsewhere here than in Kafka Streams, which counts
     * the length of the topic's name into a buffer's bytes (host/docs/differences.md).
     */
    private boolean elsewhere;

    ChainCases(Random r, long ordinal) { super(r, ordinal); }

    void draw(String kind, ObjectNode t) {
        ops = t.putArray("ops");
        table = kind.equals("chain_table");
        start(4, 10, 40, 5L, 10L, 20L);
        ObjectNode source = op(table ? "table" : "stream").put("topic", "in");
        versioned = table && p(0.2);
        if (versioned) source.put("versioned_history", pick(in(0, 30), 1_000_000L));
        String first = table ? cycle("group", "join", "fk_join", "filter", "suppress", "group", "map_values")
            : cycle("aggregate", "window", "join_table", "join_stream", "select_key", "repartition", "to_table", "cogroup",
                "filter", "window", "flat_map_values", "merge", "aggregate", "map_values", "join_global");
        add(first);
        int more = (int) in(1, 3);
        for (int i = 0; i < more; i++) add(table ? ofTable() : ofStream());
        materialize();
        // What wants an even number of units or parts of a text gets them often enough from short letters and signs.
        nullValue = 0.1;
        double left = right ? 0.6 : 1;
        loop(() -> step(p(left) ? "in" : "right", key(), text(), ts()));
    }

    /**
     * What goes by old values, or looks a table up, needs a store in front of it: a foreign-key join has none by itself.
     * Kafka Streams makes one under a name of its own, ours asks for it.
     */
    private void materialize() {
        for (int i = 0; i < ops.size(); i++) {
            if (!ops.get(i).get("op").asText().equals("fk_join")) continue;
            boolean needed = p(0.3);
            for (int j = i + 1; j < ops.size(); j++) needed |= ops.get(j).get("op").asText().matches("group|suppress|join|fk_join");
            if (needed) ((ObjectNode) ops.get(i)).put("store", true);
        }
    }

    private String text() {
        if (p(nullValue)) return null;
        if (p(0.02)) return "";
        return pick("a", "b", "c", "é", "ab", "ba", "a+b", "bb+c", "a" + ++counter);
    }

    private String ofStream() {
        return pick("aggregate", "aggregate", "window", "window", "to_table", "join_table", "join_stream", "select_key", "repartition",
            "join_global", "cogroup", "filter", "map_values", "flat_map_values", "merge");
    }

    private String ofTable() {
        return pick("group", "group", "join", "fk_join", "filter", "map_values", "to_stream", "to_stream", "suppress");
    }

    private ObjectNode op(String name) { return ops.addObject().put("op", name); }

    /** Adds an operator, if it can be had here: there is one other topic, and it is read once. */
    private void add(String name) {
        boolean other = name.matches("join.*|fk_join|cogroup|merge");
        // Without the other topic: a stream or a table with itself, or a stream with the table that it met before.
        boolean again = name.matches("join_stream|join|fk_join") && (right || p(0.2)) || name.equals("join_table") && joined;
        if (again) other = false;
        if (other && right) return;
        // What a join of a table or stream with itself sends through topics, or gets by two of them, comes at one time: no order
        // is promised, and the test driver's is another one than ours.
        if (again && name.matches("fk_join|join_stream") && internal) return;
        // The same of one row that changes twice in a step: whether the answer for its first value comes before the second one.
        if (name.equals("fk_join") && several) return;
        // Listed in host/docs/differences.md.
        if (again && name.equals("join") && suppressed) return;
        // Kafka Streams refuses it.
        if (name.equals("suppress") && versioned) return;
        several |= many && name.matches("group|aggregate|cogroup|to_table|window");
        many |= name.matches("suppress|flat_map_values|merge|window|join_stream|fk_join|group");
        boolean direct = !internal;
        internal |= name.matches("select_key|repartition|group|fk_join|window");
        suppressed = name.equals("suppress") || suppressed && !name.matches("group|fk_join|to_table|aggregate");
        versioned &= name.matches("filter|map_values");
        right |= other;
        ObjectNode o = op(name);
        if (other) o.put("topic", "right");
        switch (name) {
            case "aggregate" -> {
                o.put("agg", agg());
                history(o, 0.25);
                table = true;
            }
            case "group" -> {
                o.put("agg", agg()).put("by", pick("key", "first"));
                history(o, 0.25);
            }
            case "cogroup", "to_table" -> {
                history(o, 0.25);
                table = true;
            }
            case "filter", "map_values" -> history(o, table ? 0.2 : 0);
            case "to_stream" -> table = false;
            case "window" -> window(o, direct);
            case "join_stream" -> {
                long diff = in(0, 20);
                o.put("join", pick("inner", "left", "outer")).put("diff", diff).put("grace", pick(0L, in(1, 40)));
                edges.add(diff);
            }
            case "join_table" -> {
                o.put("join", pick("inner", "left"));
                joined = true;
                if (again) break;
                if (p(0.4)) o.put("versioned_history", pick(in(1, 40), 1_000_000L));
                // A null key in a left join with grace: Kafka Streams fails.
                boolean waits = o.has("versioned_history") && o.get("join").asText().equals("inner") && p(0.5);
                elsewhere |= waits;
                if (waits) o.put("grace", in(0, Math.min(40, o.get("versioned_history").asLong())));
            }
            case "join_global" -> o.put("join", pick("inner", "left"));
            case "join" -> {
                o.put("join", pick("inner", "left", "outer"));
                if (!again && p(0.2)) o.put("versioned_history", pick(in(1, 40), 1_000_000L));
                history(o, 0.2);
            }
            case "fk_join" -> {
                o.put("join", pick("inner", "left"));
                history(o, 0.2);
                if (versioned) o.put("store", true);
            }
            case "suppress" -> {
                o.put("ms", p(0.2) ? 0 : in(1, 40));
                if (p(0.4)) {
                    if (elsewhere) o.put("max_records", in(1, 4));
                    else bound(o);
                }
                elsewhere = true;
            }
            default -> { }
        }
    }

    /** What an operator makes is kept as versions. */
    private void history(ObjectNode o, double chance) {
        if (!p(chance)) return;
        o.put("store_history", pick(in(0, 30), 1_000_000L));
        versioned = true;
    }

    /** Windows, and what is done in them. */
    private void windows(ObjectNode o, String type, long size) {
        ObjectNode w = o.putObject("window");
        w.put("type", type).put(type.equals("time") ? "size" : type.equals("session") ? "gap" : "diff", size).put("grace", pick(0L, in(1, 40)));
        if (type.equals("time") && p(0.4)) w.put("advance", in(Math.max(1, size / 3), size));
        o.put("agg", agg());
        edges.add(size);
    }

    /** A join with equally long windows of the other topic; or of the same stream, where it needs no topic in between. */
    private void with(ObjectNode o, String type, long size, boolean direct) {
        boolean other = !right && p(0.7);
        if (!other && !direct) return;
        right |= other;
        ObjectNode with = o.putObject("with").put("join", pick("inner", "left", "outer"));
        if (other) with.put("topic", "right");
        if (type.equals("session")) windows(with, type, p(0.5) ? size : in(2, 20));
        else windows(with, p(0.2) ? pick("time", "sliding") : type, size);
        if (p(0.2)) with.put("emit", "close");
        if (p(0.3)) with.put("mapped", true);
    }

    private void window(ObjectNode o, boolean direct) {
        String type = pick("time", "session", "sliding");
        long size = in(2, 20);
        windows(o, type, size);
        if (p(0.4)) with(o, type, size, direct);
        double x = r.nextDouble();
        if (x < 0.3) o.put("emit", "close");
        else if (x < 0.5) o.putObject("suppress").put("type", "until_window_closes");
        else if (x < 0.6) {
            ObjectNode s = o.putObject("suppress").put("ms", in(0, 40));
            if (p(0.4) && !elsewhere) bound(s);
        }
        elsewhere |= o.has("suppress");
    }
}
