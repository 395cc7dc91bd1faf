;; Looks one key up in its first store and answers with what it was handed.
(data (i32.const 512) "\01\00\00\00\01\00\00\00k")
(func $process (export "process") (param i32 i32 i32) (result i32)
  (call $get_many (i32.const 0) (i32.const 512) (i32.const 9) (i32.const 1024))
  (if (i32.load8_u (i32.const 1024))
    (then (return (call $err (i32.const 1028) (i32.const 1)))))
  (call $ok (i32.load (i32.const 1028)) (i32.load (i32.const 1032))))
