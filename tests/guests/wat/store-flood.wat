;; Looks one key of its first store up, for ever.
(data (i32.const 512) "\01\00\00\00\01\00\00\00k")
(func $process (export "process") (param i32 i32 i32) (result i32)
  (loop $again
    (call $get_many (i32.const 0) (i32.const 512) (i32.const 9) (i32.const 1024))
    (br $again))
  (call $nothing))
