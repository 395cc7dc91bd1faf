package oracle;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** The command line: README.md says what it does. */
public final class Oracle {
    static final ObjectMapper JSON = new ObjectMapper();
    private static final Set<String> KINDS = Set.of("group_agg", "windowed_agg", "stream_stream_join", "stream_table_join",
        "table_table_join", "fk_join", "table_group", "table_ops", "to_table", "cogroup", "kv_store", "ttl_store",
        "session_store", "versioned_store", "punctuate", "chain");
    private static final String USAGE = "usage: replay [-v] FILE... | rewrite FILE... |"
        + " generate --seed S --cases N [--kinds k1,k2] [--threads T]";
    /** How many cases wait for their line to be printed, for each thread. */
    private static final int AHEAD = 8;

    static Path state;
    static PrintStream out;

    public static void main(String[] args) throws Exception {
        out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        state = Files.createTempDirectory("oracle");
        List<String> rest = Arrays.asList(args).subList(Math.min(1, args.length), args.length);
        int code;
        try {
            code = switch (args.length == 0 ? "" : args[0]) {
                case "replay" -> replay(rest);
                case "rewrite" -> rewrite(rest);
                case "generate" -> generate(options(rest));
                case "streams" -> Interop.run(options(rest));
                case "ready" -> 0;
                default -> {
                    System.err.println(USAGE);
                    yield 2;
                }
            };
        } finally {
            out.flush();
            remove(state);
        }
        System.exit(code);
    }

    private static void remove(Path dir) throws IOException {
        try (var all = Files.walk(dir)) {
            all.sorted(Comparator.reverseOrder()).forEach(p -> p.toFile().delete());
        }
    }

    private static int replay(List<String> args) throws Exception {
        boolean v = false;
        int ok = 0, bad = 0, skip = 0;
        for (String f : args) {
            if (f.equals("-v")) { v = true; continue; }
            int fok = 0, fbad = 0;
            for (String line : Files.readAllLines(Path.of(f))) {
                if (line.isBlank()) continue;
                JsonNode c = JSON.readTree(line);
                String kind = c.path("topology").path("kind").asText("");
                if (!KINDS.contains(kind) || c.has("library")) {
                    System.err.println("not a topology case of this oracle, skipped: " + f + " " + c.path("id").asText());
                    skip++;
                    continue;
                }
                List<String> diff = new ArrayList<>();
                try {
                    Execution.Result r = Execution.run(c.get("topology"), (ArrayNode) c.get("steps"));
                    compare(c, r, diff);
                } catch (Exception e) {
                    diff.add("exception " + e + " / " + e.getCause());
                }
                if (diff.isEmpty()) fok++;
                else {
                    fbad++;
                    out.println("DIFF " + f + " " + c.get("id").asText());
                    int n = 0;
                    for (String d : diff) if (v || n++ < 3) out.println("     " + d);
                }
            }
            out.println(f + ": " + fok + " passed, " + fbad + " failed");
            ok += fok;
            bad += fbad;
        }
        out.println(ok + " passed, " + bad + " failed" + (skip > 0 ? " (" + skip + " skipped: other kinds)" : ""));
        return bad == 0 ? 0 : 1;
    }

    /** Prints the cases of a file with the outputs of this version in place of the stored ones. */
    private static int rewrite(List<String> args) throws Exception {
        for (String f : args) for (String line : Files.readAllLines(Path.of(f))) {
            ObjectNode c = (ObjectNode) JSON.readTree(line);
            Execution.Result r = Execution.run(c.get("topology"), (ArrayNode) c.get("steps"));
            List<String> diff = new ArrayList<>();
            compare(c, r, diff);
            if (diff.isEmpty()) { out.println(line); continue; }
            ArrayNode steps = (ArrayNode) c.get("steps");
            for (int i = 0; i < steps.size(); i++) ((ObjectNode) steps.get(i)).set("out", r.outs.get(i));
            if (c.has("dropped_records_total")) c.put("dropped_records_total", r.dropped);
            if (c.has("changelog")) c.set("changelog", r.changelog);
            out.println(JSON.writeValueAsString(c));
        }
        return 0;
    }

    private static void compare(JsonNode c, Execution.Result r, List<String> diff) throws Exception {
        ArrayNode steps = (ArrayNode) c.get("steps");
        for (int i = 0; i < steps.size(); i++) {
            JsonNode want = steps.get(i).get("out"), got = JSON.readTree(JSON.writeValueAsString(r.outs.get(i)));
            if (!want.equals(got)) diff.add("step " + i + " want " + want + "\n          got  " + got);
        }
        if (c.has("dropped_records_total") && c.get("dropped_records_total").asLong() != r.dropped)
            diff.add("dropped want " + c.get("dropped_records_total") + " got " + r.dropped);
        if (c.has("changelog")) {
            JsonNode want = c.get("changelog"), got = JSON.readTree(JSON.writeValueAsString(r.changelog));
            for (int i = 0; i < Math.max(want.size(), got.size()); i++)
                if (!want.path(i).equals(got.path(i)))
                    diff.add("changelog " + i + " want " + want.path(i) + "\n          got  " + got.path(i));
        }
    }

    private static Map<String, String> options(List<String> args) {
        Map<String, String> o = new HashMap<>();
        for (int i = 0; i + 1 < args.size(); i += 2) o.put(args.get(i), args.get(i + 1));
        return o;
    }

    /** The same bytes for the same arguments, however many threads there are. */
    private static int generate(Map<String, String> o) throws Exception {
        long seed = Long.parseLong(o.getOrDefault("--seed", "1"));
        int cases = Integer.parseInt(o.getOrDefault("--cases", "10")), threads = Integer.parseInt(o.getOrDefault("--threads", "1"));
        List<String> deck = Generator.deck(o.containsKey("--kinds") ? Arrays.asList(o.get("--kinds").split(",")) : null);
        ExecutorService pool = Executors.newFixedThreadPool(threads);
        Queue<Future<String>> waiting = new ArrayDeque<>();
        int bad = 0;
        for (int i = 0; i < cases || !waiting.isEmpty(); i++) {
            if (i < cases) {
                int index = i;
                long at = (seed - 1) * cases + i;
                int turn = (int) Math.floorMod(at, (long) deck.size());
                String kind = deck.get(turn);
                long ordinal = Math.floorDiv(at, (long) deck.size()) * Collections.frequency(deck, kind)
                    + Collections.frequency(deck.subList(0, turn), kind);
                waiting.add(pool.submit(() -> line(kind, seed, index, ordinal)));
            }
            if (waiting.size() < threads * AHEAD && i < cases) continue;
            String line = waiting.remove().get();
            if (line == null) bad++;
            else out.println(line);
        }
        pool.shutdown();
        if (bad > 0) System.err.println(bad + " of " + cases + " cases not generated");
        return bad == 0 ? 0 : 1;
    }

    /** {@code null}: Kafka Streams failed, which was said. */
    private static String line(String kind, long seed, int index, long ordinal) {
        try {
            return JSON.writeValueAsString(Generator.makeCase(kind, seed, index, ordinal));
        } catch (Exception e) {
            System.err.println("case not generated: kind " + kind + " seed " + seed + " index " + index + ": " + e + " / " + e.getCause());
            return null;
        }
    }
}
