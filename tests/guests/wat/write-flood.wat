;; Writes under another key each time, a mebibyte at once, for ever.
(data (i32.const 16384) "\01\00\00\00\00\00\00\00\04\00\00\00\00\c0\0d\00")
(func $process (export "process") (param i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 20)))
  (loop $again
    (i32.store (i32.const 16400) (i32.add (i32.load (i32.const 16400)) (i32.const 1)))
    (call $apply (i32.const 0) (i32.const 16384) (i32.const 901140) (i32.const 1024))
    (br_if $again (i32.eqz (i32.load8_u (i32.const 1024)))))
  (call $err (i32.const 1025) (i32.const 1)))
