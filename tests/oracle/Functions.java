package oracle;

import java.time.Duration;

import com.fasterxml.jackson.databind.JsonNode;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.kstream.Aggregator;
import org.apache.kafka.streams.kstream.Initializer;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Merger;
import org.apache.kafka.streams.kstream.Reducer;
import org.apache.kafka.streams.kstream.ValueJoiner;
import org.apache.kafka.streams.state.Stores;

/** The user functions of all cases, and what their topologies have in common. */
@SuppressWarnings({"unchecked", "rawtypes"})
final class Functions {
    static final Serde<String> S = Serdes.String();
    static final Reducer<String> REDUCE = (a, b) -> a + "+" + b;
    static final Reducer<String> SUBTRACT = (a, b) -> a + "-" + b;
    static final Initializer<String> INIT = () -> "0";
    static final Aggregator<String, String, String> AGG = (k, v, a) -> a + "+" + v;
    static final Aggregator<String, String, String> SUB = (k, v, a) -> a + "-" + v;
    static final Aggregator<String, String, String> AGG_DELETE = (k, v, a) -> v.equals("DEL") ? null : a + "+" + v;
    static final Merger<String, String> MERGE = (k, a, b) -> "(" + a + "|" + b + ")";
    static final ValueJoiner<String, String, String> JOIN = (l, r) -> l + "+" + r;
    static final Aggregator<String, String, String> LEFT = (k, v, a) -> a + "+L" + v;
    static final Aggregator<String, String, String> RIGHT = (k, v, a) -> a + "+R" + v;

    static String before(String v, char c) {
        int i = v == null ? -1 : v.indexOf(c);
        return i < 0 ? null : v.substring(0, i);
    }

    static Duration ms(JsonNode n) { return Duration.ofMillis(n.asLong()); }

    static Duration ms(JsonNode n, String field) { return Duration.ofMillis(n.path(field).asLong(0)); }

    static Materialized mat(String name, boolean count) {
        return Materialized.as(name).withKeySerde((Serde) S).withValueSerde((Serde) (count ? Serdes.Long() : S));
    }

    /** The store of what an operator makes: of versions, where the case says their history. */
    static Materialized mat(String name, boolean count, JsonNode t) { return mat(name, count, t, "store_history"); }

    /** The store of a table from a topic. */
    static Materialized src(String name, JsonNode t) { return mat(name, false, t, "versioned_history"); }

    private static Materialized mat(String name, boolean count, JsonNode t, String history) {
        if (!t.has(history)) return mat(name, count);
        return Materialized.as(Stores.persistentVersionedKeyValueStore(name, ms(t.get(history))))
            .withKeySerde((Serde) S).withValueSerde((Serde) (count ? Serdes.Long() : S));
    }

    private Functions() {}
}
