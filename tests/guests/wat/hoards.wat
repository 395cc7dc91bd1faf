;; Keeps 4 MiB of each batch in its store, under keys that no batch has used before: the offset of its first record,
;; and a number.
(data (i32.const 128) "{\"version\":1,\"nodes\":[{\"name\":\"in\",\"op\":\"source\"},{\"name\":\"node\",\"op\":\"process\",\"inputs\":[\"in\"],\"stores\":[\"hoard\"]},{\"name\":\"out\",\"op\":\"sink\",\"inputs\":[\"node\"]}],\"stores\":[{\"name\":\"hoard\",\"kind\":\"key-value\",\"key\":\"bytes\",\"value\":\"bytes\"}]}")
(func (export "describe") (param i32 i32) (result i32)
  (call $ok (i32.const 128) (i32.const 239)))
(data (i32.const 16384) "\01\00\00\00\00\00\00\00\0c\00\00\00\00\00\08\00")
(func $process (export "process") (param $node i32) (param $frame i32) (param $len i32) (result i32)
  (local $left i32)
  (drop (memory.grow (i32.const 20)))
  (i64.store (i32.const 16400) (i64.load (i32.add (local.get $frame) (i32.const 40))))
  (local.set $left (i32.const 8))
  (loop $again
    (i32.store (i32.const 16408) (local.get $left))
    (call $apply (i32.const 0) (i32.const 16384) (i32.const 524316) (i32.const 1024))
    (if (i32.load8_u (i32.const 1024)) (then (return (call $err (i32.const 1025) (i32.const 1)))))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (call $nothing))
