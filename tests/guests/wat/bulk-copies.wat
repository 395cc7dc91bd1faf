;; Fills 100 MiB again and again: the clock is only looked at between two copies.
(func $process (export "process") (param i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 1600)))
  (loop $again
    (memory.fill (i32.const 131072) (i32.const 7) (i32.const 104857600))
    (br $again))
  (call $nothing))
