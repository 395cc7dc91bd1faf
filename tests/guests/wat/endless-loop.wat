(func $spin
  (loop $again (br $again)))
(func $process (export "process") (param i32 i32 i32) (result i32)
  (call $spin)
  (call $nothing))
