;; Hands 9 MiB of keys to one look-up.
(func $process (export "process") (param i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 160)))
  (call $get_many (i32.const 0) (i32.const 0) (i32.const 9437184) (i32.const 1024))
  (call $nothing))
