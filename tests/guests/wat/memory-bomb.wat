;; Takes a mebibyte after the other.
(func $hoard
  (loop $again
    (drop (memory.grow (i32.const 16)))
    (br $again)))
(func $process (export "process") (param i32 i32 i32) (result i32)
  (call $hoard)
  (call $nothing))
