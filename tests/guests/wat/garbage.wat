;; Answers seven bytes that are no frame.
(data (i32.const 512) "garbage")
(func $process (export "process") (param i32 i32 i32) (result i32)
  (call $ok (i32.const 512) (i32.const 7)))
