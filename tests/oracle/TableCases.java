package oracle;

import java.util.Random;

import com.fasterxml.jackson.databind.node.ObjectNode;

/** Groups and tables. */
final class TableCases extends Dice {
    TableCases(Random r, long ordinal) { super(r, ordinal); }

    void draw(String kind, ObjectNode t) {
        switch (kind) {
            case "group_agg" -> groupAgg(t);
            case "table_group" -> tableGroup(t);
            case "table_ops" -> {
                t.put("op", cycle("filter_even", "filter_even_mat", "map_values", "filter_even_mat", "map_values_mat"));
                if (cycle(false, true)) t.put("source_materialized", false);
                if (t.get("op").asText().endsWith("_mat") && p(0.5)) history(t);
                start(3, 10, 60, t.path("store_history").asLong(5));
                nullValue = 0.2;
                boolean ints = !t.get("op").asText().startsWith("map_values");
                loop(() -> step("in", key(), ints ? p(nullValue) ? null : Long.toString(in(0, 12)) : value("v"), ts()));
            }
            case "table_ops_versioned" -> {
                t.put("op", cycle("filter_even", "map_values", "filter_even_mat", "map_values_mat"));
                t.put("versioned_history", pick(0L, in(1, 30), in(10, 300), 1_000_000L));
                if (t.get("op").asText().endsWith("_mat") && p(0.5)) history(t);
                start(3, 10, 60, t.get("versioned_history").asLong());
                nullValue = 0.2;
                loop(() -> step("in", key(), p(nullValue) ? null : Long.toString(in(0, 12)), ts()));
            }
            case "to_table" -> {
                if (p(0.5)) history(t);
                start(3, 10, 60, t.path("store_history").asLong(5));
                nullValue = 0.2;
                loop(() -> step("in", key(), value("v"), ts()));
            }
            case "cogroup" -> {
                if (p(0.4)) history(t);
                start(3, 10, 40, t.path("store_history").asLong(5));
                twoSides("left", "right", "", 0.5);
            }
            default -> throw new IllegalArgumentException(kind);
        }
    }

    /** What an operator makes is kept as versions. */
    void history(ObjectNode t) { t.put("store_history", pick(0L, in(1, 30), in(10, 300), 1_000_000L)); }

    void groupAgg(ObjectNode t) {
        t.put("agg", cycle("count", "reduce", "aggregate", "aggregate_delete"));
        if (cycle(false, true, false)) t.put("rekey", true);
        boolean rekey = t.path("rekey").asBoolean(false), del = t.get("agg").asText().equals("aggregate_delete");
        if (p(0.4)) history(t);
        start(3, 10, t.get("agg").asText().equals("count") ? 60 : 40, t.path("store_history").asLong(5));
        loop(() -> {
            String v = del && p(0.2) ? "DEL" : rekey ? (p(0.05) ? null : pick("A", "B", "C", "é")) : value("");
            step("in", key(), v, ts());
        });
    }

    void tableGroup(ObjectNode t) {
        String by = cycle("key", "value", "split");
        t.put("agg", agg()).put("group_by", by);
        if (p(0.25)) t.put("versioned_history", pick(in(0, 30), in(10, 300), 1_000_000L));
        start(3, 10, 45, t.path("versioned_history").asLong(5));
        String emission = cycle("plain", "ms", "plain", "max");
        // Kafka Streams suppresses no versions.
        if (emission.equals("plain") && p(0.5)) history(t);
        emission(t, emission);
        if (by.equals("split")) keys = pick(new String[] {"11", "12", "21"}, new String[] {"11", "12"}, new String[] {"ab", "ac", "bb", "ba"});
        String[] groups = pick(new String[] {"v1", "v2"}, new String[] {"A", "B", "C"}, new String[] {"1", "2", "11"});
        loop(() -> step("in", p(nullKey) ? null : pick(keys), p(0.18) ? null : p(0.01) ? "" : by.equals("value") ? pick(groups) : value(""), ts()));
    }
}
