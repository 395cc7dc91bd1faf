;; Asks a store that it does not have for nothing, for ever.
(data (i32.const 512) "\00\00\00\00")
(func $process (export "process") (param i32 i32 i32) (result i32)
  (loop $again
    (call $get_many (i32.const 99) (i32.const 512) (i32.const 4) (i32.const 1024))
    (br $again))
  (call $nothing))
