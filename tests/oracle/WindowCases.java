package oracle;

import java.util.Random;

import com.fasterxml.jackson.databind.node.ObjectNode;

/** Aggregations of windows. */
final class WindowCases extends Dice {
    WindowCases(Random r, long ordinal) { super(r, ordinal); }

    void draw(String kind, ObjectNode t) {
        switch (kind) {
            case "windowed_time" -> time(t);
            case "windowed_sliding" -> sliding(t);
            case "windowed_session" -> session(t);
            case "windowed_cogroup" -> cogroup(t);
            default -> throw new IllegalArgumentException(kind);
        }
    }

    void time(ObjectNode t) {
        String mode = cycle("plain", "close", "final", "plain", "ms", "close", "plain", "max");
        ObjectNode w = t.putObject("window").put("type", "time");
        boolean big = p(0.2);
        long size = big ? in(10_000, 90_000) : p(0.1) ? in(1, 2) : in(3, 40);
        w.put("size", size);
        long adv = size;
        if (p(0.5) && size > 1) w.put("advance", adv = in(Math.max(1, size / 4), size));
        long grace = big ? pick(0L, in(0, 2 * size), in(0, 200_000)) : grace(size);
        w.put("grace", grace);
        if (p(0.25)) w.put("retention", size + grace + pick(0L, 1L, in(0, 3 * size), in(0, 300_000)));
        t.put("agg", agg());
        start(Math.max(1, size / 4), 10, adv < size ? 35 : 60, size, adv, grace, size + grace, grace + size - adv, w.path("retention").asLong(size + grace));
        emission(t, mode);
        loop(() -> step("in", key(), value(""), ts()));
    }

    void sliding(ObjectNode t) {
        String mode = cycle("plain", "close", "final", "plain", "plain", "close", "ms", "max");
        ObjectNode w = t.putObject("window").put("type", "sliding");
        boolean big = p(0.15);
        long diff = big ? in(10_000, 70_000) : p(0.08) ? in(1, 2) : in(2, 30);   // Kafka fails at run time on 0
        w.put("diff", diff);
        long grace = big ? pick(0L, in(0, 2 * diff)) : grace(Math.max(1, diff));
        w.put("grace", grace);
        if (p(0.2)) w.put("retention", 2 * diff + grace + pick(0L, 1L, in(0, 3 * diff), in(0, 300_000)));
        t.put("agg", agg());
        start(Math.max(1, diff / 2), 10, 32, diff, diff + 1, 2 * diff, grace, diff + grace, w.path("retention").asLong(2 * diff + grace));
        emission(t, mode);
        loop(() -> step("in", key(), value(""), ts()));
    }

    void session(ObjectNode t) {
        String mode = cycle("plain", "close", "final", "plain", "ms", "close", "plain", "max");
        ObjectNode w = t.putObject("window").put("type", "session");
        boolean big = p(0.15);
        long gap = big ? in(10_000, 300_000) : p(0.08) ? in(1, 2) : in(2, 30);   // 0 is refused by 4.0, accepted by 4.3
        w.put("gap", gap);
        long grace = big ? pick(0L, in(0, 2 * gap)) : grace(Math.max(1, gap));
        w.put("grace", grace);
        if (p(0.35)) w.put("retention", gap + grace + pick(0L, 1L, in(0, 6 * gap), in(0, 300_000)));
        t.put("agg", agg());
        start(Math.max(1, gap * 2 / 3), 10, 60, gap, gap + 1, 2 * gap, grace, gap + grace, w.path("retention").asLong(gap + grace));
        emission(t, mode);
        loop(() -> step("in", key(), value(""), ts()));
    }

    /** A cogroup of two topics in windows of each type. */
    void cogroup(ObjectNode t) {
        String type = cycle("time", "session", "sliding");
        switch (type) {
            case "time" -> time(t);
            case "session" -> session(t);
            default -> sliding(t);
        }
        // A cogroup emits as it goes and has one aggregate; its input comes from both sides.
        t.remove("agg");
        t.remove("emit");
        for (int i = 0; i < steps.size(); i++) {
            ObjectNode in = (ObjectNode) steps.get(i).get("in");
            in.put("topic", p(0.5) ? "left" : "right");
        }
    }
}
