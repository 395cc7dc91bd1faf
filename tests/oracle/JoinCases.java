package oracle;

import java.util.Random;

import com.fasterxml.jackson.databind.node.ObjectNode;

/** Joins. */
final class JoinCases extends Dice {
    JoinCases(Random r, long ordinal) { super(r, ordinal); }

    void draw(String kind, ObjectNode t) {
        switch (kind) {
            case "stream_stream_join" -> streamJoin(t);
            case "stream_table_join" -> streamTable(t);
            case "table_table_join" -> {
                t.put("join", cycle("inner", "left", "outer"));
                if (cycle(false, true)) t.put("versioned_history", pick(0L, in(1, 30), in(10, 300), 1_000_000L));
                if (p(0.3)) t.put("store_history", pick(0L, in(1, 30), in(10, 300), 1_000_000L));
                start(3, 10, 60, t.path("versioned_history").asLong(7));
                nullValue = 0.2;
                twoSides("left", "right", null, 0.5);
            }
            case "fk_join" -> fkJoin(t);
            case "fk_join_versioned" -> {
                t.put("versioned_history", pick(0L, in(1, 30), in(10, 300), 1_000_000L));
                fkJoin(t);
            }
            default -> throw new IllegalArgumentException(kind);
        }
    }

    void streamJoin(ObjectNode t) {
        t.put("join", cycle("inner", "left", "outer", "left", "outer"));
        boolean big = p(0.15);
        long diff = big ? in(5_000, 60_000) : p(0.1) ? in(0, 1) : in(2, 40), before = diff, after = diff;
        t.put("diff", diff);
        if (p(0.25)) t.put("before", before = p(0.3) ? 0 : in(0, 2 * diff));
        if (p(0.25)) t.put("after", after = p(0.3) ? 0 : in(0, 2 * diff));
        long grace = big ? pick(0L, in(0, diff)) : grace(Math.max(1, diff));
        t.put("grace", grace);
        start(Math.max(1, diff / 3), 10, 45, diff, before, after, grace, before + grace, after + grace, before + after + grace, before + after);
        nullKey = 0.03;
        double first = pick(0.5, 0.5, 0.7, 0.3);
        twoSides("left", "right", null, first);
    }

    void streamTable(ObjectNode t) {
        String form = cycle("plain", "grace", "global", "versioned", "grace");
        t.put("join", cycle("inner", "left"));
        nullValue = 0.1;
        if (form.equals("global")) {
            t.put("global", true);
            start(3, 10, 50);
            loop(() -> {
                if (p(0.55)) step("left", key(), p(0.05) ? null : pick("p1", "p2", "p3", "") + ":" + in(1, 9), ts());
                else step("right", p(0.04) ? null : pick("p1", "p2", "p3"), value("t"), ts());
            });
            return;
        }
        boolean versioned = !form.equals("plain");
        long history = 0;
        if (versioned) {
            history = pick(in(0, 10), in(10, 200), 1_000_000L);
            t.put("versioned_history", history);
            if (form.equals("grace")) t.put("grace", pick(0L, in(0, Math.min(history, 40)), history > 100 ? in(0, 100) : history));
        }
        long grace = t.path("grace").asLong(0);
        start(4, 10, 60, history, grace, grace + 1);
        // Kafka fails on a null stream key in a left join with grace (NullPointerException in its buffer): not generated
        boolean keyed = t.has("grace") && t.get("join").asText().equals("left");
        loop(() -> {
            boolean l = p(0.55);
            step(l ? "left" : "right", l && keyed ? pick(keys) : key(), value(l ? "L" : "r"), ts());
        });
    }

    void fkJoin(ObjectNode t) {
        t.put("join", cycle("inner", "left"));
        start(3, 10, 40);
        String[] lk = {"l1", "l2", "l3"}, fk = pick(new String[] {"f1", "f2"}, new String[] {"f1", "f2", "f3"}, new String[] {"f", "ff", "é"});
        loop(() -> {
            if (p(0.6)) {
                double x = r.nextDouble();
                String v = x < 0.15 ? null : x < 0.24 ? pick("nofk", "x") : x < 0.26 ? "|x" : pick(fk) + "|" + pick("x", "y", "z");
                step("left", p(nullKey) ? null : pick(lk), v, ts());
            } else {
                String v = p(0.22) ? null : p(0.02) ? "" : pick("one", "two", "uno", "t" + ++counter);
                step("right", p(nullKey) ? null : p(0.02) ? "" : pick(fk), v, ts());
            }
        });
    }
}
