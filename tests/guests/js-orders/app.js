// A plugin in JavaScript without an SDK: it reads and writes the frames of wit/README.md by itself.
//
// Source `orders`: customer (utf8) -> amount (i64). Store `sums`: customer -> sum of the amounts so far. Every order
// goes to `totals` as the new sum, one of 1000 or more to `big-orders` too. Each minute of stream time `totals` gets the sum
// over all customers under the key "*". An order without a customer is dropped, one with a negative amount
// dead-lettered, one whose amount is not eight bytes fails.

import { getMany, apply, scan } from "millstream:plugin/stores@0.1.0";
import { log } from "millstream:plugin/runtime@0.1.0";

const TOPOLOGY = {
  version: 1,
  nodes: [
    { name: "orders", op: "source", key: "utf8", value: "i64" },
    {
      name: "sum",
      op: "process",
      inputs: ["orders"],
      stores: ["sums"],
      punctuations: [{ name: "summary", time: "stream", every_ms: 60000 }],
    },
    { name: "totals", op: "sink", inputs: ["sum"], key: "utf8", value: "i64" },
    { name: "big-orders", op: "sink", inputs: ["sum"], key: "utf8", value: "i64" },
  ],
  stores: [{ name: "sums", kind: "key-value", key: "utf8", value: "i64" }],
};

const SUMS = 0;
const TOTALS = 0;
const BIG_ORDERS = 1;
const BIG = 1000n;

const RECORDS = 1;
const PUNCTUATION = 3;
const RESULT = 4;
const DROP = 1;
const DEAD_LETTER = 2;
const FAIL = 4;

export function describe(config) {
  JSON.parse(config);
  log("debug", "orders described");
  return JSON.stringify(TOPOLOGY);
}

export function process(node, frame) {
  const { kind, elements } = decode(frame);
  if (node !== 1) throw new Error(`node ${node} has no function`);
  if (kind === RECORDS) return sum(elements);
  if (kind === PUNCTUATION) return summarise(elements);
  throw new Error(`frames of kind ${kind} are not for this node`);
}

function sum(elements) {
  const outcomes = [];
  const orders = [];
  for (const element of elements) {
    const outcome = judge(element);
    if (outcome === undefined) orders.push(element);
    else outcomes.push({ element: element.index, ...outcome });
  }
  const sums = read(orders.map((order) => order.key));
  const writes = [];
  const results = [];
  for (const { index, key, value, timestamp } of orders) {
    const amount = i64(value);
    const total = encodeI64(BigInt.asIntN(64, sums.get(text(key)) + amount));
    sums.set(text(key), i64(total));
    writes.push({ element: index, key, value: total });
    results.push({ element: index, child: TOTALS, timestamp, key, value: total });
    if (amount >= BIG) results.push({ element: index, child: BIG_ORDERS, timestamp, key, value });
  }
  write(writes);
  return encode(results, outcomes);
}

function judge({ key, value }) {
  if (key === null) return { kind: DROP, message: "an order without a customer" };
  if (value === null || value.length !== 8) return { kind: FAIL, message: "an amount is eight bytes" };
  if (i64(value) < 0n) return { kind: DEAD_LETTER, message: `negative amount ${i64(value)}` };
}

function summarise(elements) {
  const results = elements.map(({ index, timestamp }) => {
    let total = 0n;
    for (const value of values()) total += i64(value);
    const value = encodeI64(BigInt.asIntN(64, total));
    return { element: index, child: TOTALS, timestamp, key: bytes("*"), value };
  });
  return encode(results, []);
}

// --- stores

// The sums of these customers, 0 where there is none yet, by one look-up.
function read(keys) {
  const sums = new Map();
  const distinct = keys.filter((key) => !sums.has(text(key)) && sums.set(text(key), 0n));
  if (distinct.length === 0) return sums;
  const out = new Writer();
  out.u32(distinct.length);
  for (const key of distinct) out.u32(key.length).bytes(key);
  const answer = new Reader(getMany(SUMS, out.finish()));
  const count = answer.u32();
  for (let i = 0; i < count; i++) {
    const length = answer.i32();
    answer.i64(); // when it was written
    if (length >= 0) sums.set(text(distinct[i]), i64(answer.take(length)));
  }
  return sums;
}

function write(writes) {
  const out = new Writer();
  out.u32(writes.length);
  for (const { element, key, value } of writes) {
    out.u32(element).u32(key.length).i32(value.length).bytes(key).bytes(value);
  }
  if (writes.length > 0) apply(SUMS, out.finish());
}

// Every value of the store, page by page.
function* values() {
  for (let after = null, more = true; more; ) {
    const page = scan(SUMS, { lower: null, upper: null, prefix: null, after, reverse: false, limit: 500 });
    const rows = new Reader(page.entries);
    const count = rows.u32();
    for (let i = 0; i < count; i++) {
      const [keyLength, valueLength] = [rows.u32(), rows.u32()];
      rows.i64(); // when it was written
      after = rows.take(keyLength);
      yield rows.take(valueLength);
    }
    more = page.more && count > 0;
  }
}

// --- frames

function decode(frame) {
  const reader = new Reader(frame);
  if (text(reader.take(4)) !== "MSF1" || reader.u16() !== 1) throw new Error("not a frame of version 1");
  const kind = reader.u16();
  const [contexts, groups, count, outcomes, length] = [0, 0, 0, 0, 0].map(() => reader.u32());
  reader.u32();
  if (length !== frame.length || groups !== 0 || outcomes !== 0) throw new Error("a frame of another shape");
  reader.take(40 * contexts);
  const elements = [];
  for (let index = 0; index < count; index++) {
    reader.take(12); // context, input, group
    const headersLength = reader.u32();
    const timestamp = reader.i64();
    const [keyLength, valueLength] = [reader.i32(), reader.i32()];
    const key = keyLength < 0 ? null : reader.take(keyLength);
    const value = valueLength < 0 ? null : reader.take(valueLength);
    reader.take(headersLength);
    elements.push({ index, timestamp, key, value });
  }
  if (reader.left() !== 0) throw new Error("bytes behind the last element");
  return { kind, elements };
}

function encode(results, outcomes) {
  const out = new Writer();
  out.bytes(bytes("MSF1")).u16(1).u16(RESULT);
  out.u32(0).u32(0).u32(results.length).u32(outcomes.length).u32(0).u32(0);
  for (const { element, child, timestamp, key, value } of results) {
    out.u32(element).u16(child).u16(0).u32(0).u32(0).i64(timestamp);
    out.i32(key.length).i32(value.length).bytes(key).bytes(value);
  }
  for (const { element, kind, message } of outcomes) {
    out.u32(element).u16(kind).u16(0).u32(message.length).bytes(bytes(message));
  }
  const frame = out.finish();
  new DataView(frame.buffer).setUint32(24, frame.length, true);
  return frame;
}

class Reader {
  constructor(array) {
    this.array = array;
    this.view = new DataView(array.buffer, array.byteOffset, array.byteLength);
    this.at = 0;
  }
  left() {
    return this.array.length - this.at;
  }
  // Moves on by so many bytes; answers where they begin.
  step(length) {
    if (length > this.left()) throw new Error(`${length} bytes announced where ${this.left()} are left`);
    this.at += length;
    return this.at - length;
  }
  take(length) {
    const start = this.step(length);
    return this.array.subarray(start, start + length);
  }
  u16() {
    return this.view.getUint16(this.step(2), true);
  }
  u32() {
    return this.view.getUint32(this.step(4), true);
  }
  i32() {
    return this.view.getInt32(this.step(4), true);
  }
  i64() {
    return this.view.getBigInt64(this.step(8), true);
  }
}

class Writer {
  constructor() {
    this.array = new Uint8Array(1024);
    this.view = new DataView(this.array.buffer);
    this.length = 0;
  }
  // Makes room for so many bytes; answers where they begin.
  step(length) {
    const start = this.length;
    this.length += length;
    if (this.length > this.array.length) {
      const grown = new Uint8Array(Math.max(this.length, 2 * this.array.length));
      grown.set(this.array);
      this.array = grown;
      this.view = new DataView(grown.buffer);
    }
    return start;
  }
  u16(value) {
    const at = this.step(2);
    this.view.setUint16(at, value, true);
    return this;
  }
  u32(value) {
    const at = this.step(4);
    this.view.setUint32(at, value, true);
    return this;
  }
  i32(value) {
    const at = this.step(4);
    this.view.setInt32(at, value, true);
    return this;
  }
  i64(value) {
    const at = this.step(8);
    this.view.setBigInt64(at, value, true);
    return this;
  }
  bytes(bytes) {
    const at = this.step(bytes.length);
    this.array.set(bytes, at);
    return this;
  }
  finish() {
    return this.array.slice(0, this.length);
  }
}

// --- values: eight bytes, big-endian, as Kafka's serialisers write them

function i64(value) {
  return new DataView(value.buffer, value.byteOffset, value.byteLength).getBigInt64(0);
}

function encodeI64(value) {
  const array = new Uint8Array(8);
  new DataView(array.buffer).setBigInt64(0, value);
  return array;
}

// One character per byte: a Map's key for bytes, and ASCII.
function text(bytes) {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

function bytes(ascii) {
  return Uint8Array.from(ascii, (char) => char.charCodeAt(0));
}
