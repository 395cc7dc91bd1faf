package oracle;

import java.nio.charset.StandardCharsets;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;

/** Collects what is forwarded during one step, as cases show it. */
final class Sink {
    ArrayNode now = Oracle.JSON.createArrayNode();

    ObjectNode rec(String stream) {
        ObjectNode n = now.addObject();
        if (stream != null) n.put("stream", stream);
        return n;
    }

    static ObjectNode val(ObjectNode n, String field, Object v) {
        if (v == null) n.putNull(field);
        else if (v instanceof Windowed<?> w)
            n.putObject(field).put("key", (String) w.key()).put("start", w.window().start()).put("end", w.window().end());
        else if (v instanceof Long l) n.put(field, l);
        else n.put(field, (String) v);
        return n;
    }

    void record(String stream, Record<?, ?> x) {
        ObjectNode n = val(val(rec(stream), "key", x.key()), "value", x.value()).put("ts", x.timestamp());
        for (Header h : x.headers())
            n.withArray("/headers").addArray().add(h.key()).add(h.value() == null ? null : new String(h.value(), StandardCharsets.UTF_8));
    }

    /** Shows a stream, under a name where there are several. */
    @SuppressWarnings({"unchecked", "rawtypes"})
    void tap(KStream stream, String name) {
        stream.process((ProcessorSupplier) () -> new Processor<Object, Object, Void, Void>() {
            public void process(Record<Object, Object> x) { record(name, x); }
        });
    }
}
