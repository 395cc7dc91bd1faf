package oracle;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * What cases are drawn with: keys, values and times. {@code ordinal} (how many cases of this kind came before) turns through
 * the main variants of a kind, all the rest is drawn from the seed.
 */
abstract class Dice {
    final Random r;
    final ArrayNode steps = Oracle.JSON.createArrayNode();
    long base, now, unit = 3;
    final List<Long> seen = new ArrayList<>(), edges = new ArrayList<>();
    String[] keys;
    int n, counter;
    long ord;
    double nullKey = 0.02, nullValue = 0.03;
    /** How many of the records have headers. */
    double headed = 0;

    Dice(Random r, long ordinal) {
        this.r = r;
        this.ord = ordinal;
    }

    boolean p(double x) { return r.nextDouble() < x; }
    long in(long lo, long hi) { return hi <= lo ? lo : lo + (long) (r.nextDouble() * (hi - lo + 1)); }
    /** Turns through the variants, then hands the next wheel over. */
    @SafeVarargs final <T> T cycle(T... a) {
        T x = a[(int) Math.floorMod(ord, (long) a.length)];
        ord = Math.floorDiv(ord, (long) a.length);
        return x;
    }
    @SafeVarargs final <T> T pick(T... a) { return a[r.nextInt(a.length)]; }

    void start(long unit, int minSteps, int maxSteps, Long... edges) {
        this.unit = Math.max(1, unit);
        n = (int) in(minSteps, maxSteps);
        base = switch (r.nextInt(8)) {
            case 0, 1, 2 -> 0;
            case 3, 4 -> in(0, 20 * this.unit);
            case 5 -> in(0, 200_000);
            case 6 -> 1_700_000_000_000L + in(0, 1_000_000);
            default -> in(1_000, 50_000);
        };
        now = base;
        for (long e : edges) if (e >= 0 && e < 400_000_000L) this.edges.add(e);
    }

    String[] keySet() {
        return switch (r.nextInt(16)) {
            case 0, 1, 2 -> new String[] {"k"};
            case 3, 4, 5 -> new String[] {"a", "b"};
            case 6, 7, 8 -> new String[] {"A", "B", "C"};
            case 9, 10 -> new String[] {"a", "aa", "ab"};
            case 11 -> new String[] {"k1", "k2", "k10", "k"};
            case 12 -> new String[] {"b", "a"};
            case 13 -> new String[] {"é", "z", "日本"};
            case 14 -> new String[] {"\uFF5E", "\uD83D\uDE00", "z"};
            default -> p(0.3) ? new String[] {"", "a"} : new String[] {"x", "y"};
        };
    }

    String key() {
        if (p(nullKey)) return null;
        if (p(0.04)) return "zz";
        return pick(keys);
    }

    /** Next timestamp: mostly forward with jitter; ties, disorder, exact edges of earlier timestamps, jumps. */
    long ts() {
        double x = r.nextDouble();
        long t;
        if (seen.isEmpty()) t = now;
        else if (x < 0.38) t = now + in(0, 2 * unit);
        else if (x < 0.45) t = now;
        else if (x < 0.50) t = seen.get(r.nextInt(seen.size()));
        else if (x < 0.66) t = now - in(1, 5 * unit);
        else if (x < 0.93 && !edges.isEmpty()) {
            long a = p(0.5) ? now : seen.get(seen.size() - 1 - r.nextInt(Math.min(6, seen.size())));
            long e = edges.get(r.nextInt(edges.size()));
            if (p(0.25)) t = e > 0 ? (now / e + in(-1, 1)) * e + in(-1, 1) : a;          // aligned boundary
            else t = a + (p(0.55) ? -e : e) + pick(0, 0, -1, 1);
            if (t > now + 60 * unit && p(0.8)) t = now + in(0, 3 * unit);
        } else if (x < 0.965) t = now + in(5, 40) * unit;
        else if (x < 0.98) t = now + in(1, 5) * 60_000 + in(0, 3);
        else if (x < 0.99) t = base + in(0, Math.max(0, now - base));
        else t = now + in(0, 2 * unit);
        t = Math.max(0, t);
        now = Math.max(now, t);
        seen.add(t);
        return t;
    }

    void step(String topic, String key, String value, long ts) {
        ObjectNode in = steps.addObject().putObject("in").put("topic", topic).put("key", key).put("value", value).put("ts", ts);
        if (headed > 0 && p(headed)) headers(in.putArray("headers"));
    }

    /** One or more; each record's are others, and a name may come twice. */
    private void headers(ArrayNode all) {
        do {
            String value = p(0.1) ? null : p(0.1) ? "" : "at" + steps.size() + "." + all.size();
            all.addArray().add(pick("h", "h", "trace", "é")).add(value);
        } while (p(0.4));
    }

    /** Now and then an earlier record again, exactly. */
    boolean duplicate() {
        if (steps.size() == 0 || !p(0.06)) return false;
        int i = p(0.6) ? steps.size() - 1 : r.nextInt(steps.size());
        if (!steps.get(i).has("in")) return false;
        steps.add(steps.get(i).deepCopy());
        return true;
    }

    /** Short values: a letter, a digit, now and then longer, empty or not ASCII. */
    String value(String prefix) {
        if (p(nullValue)) return null;
        if (p(0.01)) return "";
        if (p(0.02)) return pick("é", "日本", "\uD83D\uDE00", "long value");
        counter++;
        return prefix + (p(0.2) ? Integer.toString((int) in(0, 3)) : Integer.toString(counter));
    }

    /** Fills in the topology, and draws the steps. */
    abstract void draw(String kind, ObjectNode t);

    void loop(Runnable one) {
        while (steps.size() < n) if (!duplicate()) one.run();
    }

    void twoSides(String a, String b, String prefix, double first) {
        loop(() -> {
            boolean l = p(first);
            step(l ? a : b, key(), value(prefix != null ? prefix : l ? "L" : "r"), ts());
        });
    }

    String agg() { return cycle("count", "aggregate", "reduce"); }

    /** mode: plain, close, final (suppress until the window closes), ms, max. */
    void emission(ObjectNode t, String mode) {
        if (mode.equals("close")) t.put("emit", "close");
        else if (!mode.equals("plain")) {
            ObjectNode s = t.putObject("suppress");
            if (mode.equals("final")) s.put("type", "until_window_closes");
            else {
                boolean max = mode.equals("max");
                s.put("ms", max && p(0.4) ? Long.MAX_VALUE : p(0.1) ? 0 : in(0, 12 * unit));
                if (max) bound(s);
                if (s.get("ms").asLong() < 400_000_000L) edges.add(s.get("ms").asLong());
            }
            if (p(0.85)) t.put("also_raw", true);
        }
        if (mode.equals("plain") && t.has("window") && p(0.05)) t.put("emit", "update");
    }

    /** Of a buffer that lets go early when it is full: by rows, or by bytes that hold none of these records up to a handful. */
    void bound(ObjectNode s) {
        if (p(0.6)) s.put("max_records", in(1, 4));
        else s.put("max_bytes", p(0.1) ? in(0, 40) : in(40, 260));
    }

    /** Grace from none to many windows. */
    long grace(long size) {
        return switch (r.nextInt(5)) {
            case 0, 1 -> 0;
            case 2, 3 -> in(1, 3 * size);
            default -> p(0.5) ? in(1, 3) : size * in(5, 50);
        };
    }
}
