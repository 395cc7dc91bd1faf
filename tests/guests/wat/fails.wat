;; Answers err.
(data (i32.const 512) "the moon is full")
(func $process (export "process") (param i32 i32 i32) (result i32)
  (call $err (i32.const 512) (i32.const 16)))
