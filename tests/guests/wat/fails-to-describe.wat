;; Has a reason not to start.
(data (i32.const 512) "config: \"topic\" is missing")
(func (export "describe") (param i32 i32) (result i32)
  (call $err (i32.const 512) (i32.const 26)))
(func $process (export "process") (param i32 i32 i32) (result i32)
  (call $nothing))
