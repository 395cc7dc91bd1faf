package oracle;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

import com.fasterxml.jackson.databind.node.ObjectNode;

/** Scripts for stores, and punctuations. */
final class StoreCases extends Dice {
    StoreCases(Random r, long ordinal) { super(r, ordinal); }

    void draw(String kind, ObjectNode t) {
        switch (kind) {
            case "kv_store" -> kvStore();
            case "ttl_store" -> ttlStore(t);
            case "session_store" -> sessionStore(t);
            case "versioned_store" -> versionedStore(t);
            case "punctuate" -> punctuate(t);
            default -> throw new IllegalArgumentException(kind);
        }
    }

    void kvStore() {
        start(2, 15, 60);
        String[] k = p(0.25) ? new String[] {"\uFF5E", "\uD83D\uDE00", "é", "z", "a"} : p(0.3) ? new String[] {"1", "10", "2", "11"} : new String[] {"a", "ab", "abc", "b", "c"};
        loop(() -> {
            String key = pick(k), a = p(0.1) ? pick("0", "m", "zzz") : pick(k), b = p(0.1) ? pick("0", "m", "zzz") : pick(k);
            double x = r.nextDouble();
            String c = x < 0.32 ? "PUT " + ++counter : x < 0.40 ? "PIA " + ++counter : x < 0.49 ? "DEL" : x < 0.54 ? null : x < 0.62 ? "GET"
                : x < 0.69 ? "RANGE " + a + " " + b : x < 0.75 ? "RRANGE " + a + " " + b : x < 0.79 ? "FROM " + a : x < 0.83 ? "TO " + a
                : x < 0.88 ? "ALL" : x < 0.92 ? "RALL" : x < 0.96 ? "PREFIX " + a : "N";
            step("in", key, c, ts());
        });
    }

    void ttlStore(ObjectNode t) {
        long retention = pick(120_000L, 60_000L, 180_000L, in(1_000, 50_000), in(50_000, 400_000)), size = Math.min(retention, pick(1_000L, 10L, 30_000L));
        t.put("retention", retention).put("size", size);
        if (cycle(false, true, false)) t.put("retain_duplicates", true);
        start(retention / 12, 15, 50, retention, retention - 1, Math.max(retention / 2, 60_000), size);
        loop(() -> {
            double x = r.nextDouble();
            if (x < 0.62) step("in", pick(keys), x < 0.06 ? null : "v" + ++counter, ts());
            else if (x < 0.85) {
                long from = p(0.3) ? 0 : Math.max(0, near()), to = p(0.3) ? now + unit : Math.max(0, near());
                if (from > to && p(0.9)) { long s = from; from = to; to = s; }
                step("in", pick(keys), "FETCH " + from + " " + to, now);
            } else step("in", pick(keys), "ALL", now);
        });
    }

    long near() { return seen.isEmpty() ? now : seen.get(r.nextInt(seen.size())) + pick(0, 0, 1, -1); }

    void sessionStore(ObjectNode t) {
        long retention = pick(10_000L, 500L, in(100, 2_000), in(60_000, 200_000));
        t.put("retention", retention);
        start(retention / 15, 15, 50, retention, retention + 1);
        List<long[]> put = new ArrayList<>();
        loop(() -> {
            double x = r.nextDouble();
            String k = pick(keys), c;
            long[] s = put.isEmpty() ? new long[] {0, 0} : put.get(r.nextInt(put.size()));
            if (x < 0.45) {
                long a = ts(), b = p(0.25) ? a : a + in(0, 2 * unit);
                now = Math.max(now, b);
                if (p(0.1) && !put.isEmpty()) { a = s[0]; b = s[1]; }
                put.add(new long[] {a, b});
                c = "PUT " + a + " " + b + " v" + ++counter;
            } else if (x < 0.55) c = "REMOVE " + s[0] + " " + s[1];
            else if (x < 0.75) {
                long a = Math.max(0, s[1] + pick(0, 1, -1) - in(0, 3) * unit), b = Math.max(0, s[0] + pick(0, 1, -1) + in(0, 3) * unit);
                c = "FIND " + a + " " + b;
            } else if (x < 0.88) c = "FETCH";
            else c = "ONE " + s[0] + " " + (p(0.8) ? s[1] : s[1] + 1);
            step("in", k, c, now);
        });
    }

    void versionedStore(ObjectNode t) {
        long history = pick(100L, 0L, in(1, 50), in(100, 5_000), in(60_000, 200_000));
        t.put("history", history);
        start(Math.max(2, history / 15), 15, 60, history, history + 1);
        keys = Arrays.copyOf(keys, Math.min(2, keys.length));
        loop(() -> {
            double x = r.nextDouble();
            String k = pick(keys);
            if (x < 0.42) step("in", k, "PUT v" + ++counter, ts());
            else if (x < 0.50) step("in", k, null, ts());
            else if (x < 0.58) step("in", k, "DEL", ts());
            else if (x < 0.70) step("in", k, "GET", now);
            else step("in", k, "ASOF " + Math.max(0, p(0.2) ? now - history + pick(-1, 0, 1) : near()), now);
        });
    }

    void punctuate(ObjectNode t) {
        boolean stream = cycle(true, false);
        long interval = p(0.15) ? 1 : in(2, 40);
        t.put("type", stream ? "stream" : "wall").put("interval", interval);
        start(Math.max(1, interval / 3), 10, 60, interval, 2 * interval);
        loop(() -> {
            if (p(stream ? 0.08 : 0.65)) {
                long d = p(0.3) ? in(0, 3) : p(0.5) ? in(1, interval) : p(0.6) ? interval + pick(-1, 0, 1) : in(interval, 5 * interval);
                steps.addObject().put("advance_wall_ms", Math.max(0, d));
            } else step("in", key(), value("v"), ts());
        });
    }
}
