;; Never comes to the point where it could be asked anything.
(func $spin (loop $again (br $again)))
(start $spin)
(func (export "process") (param i32 i32 i32) (result i32)
  (call $nothing))
