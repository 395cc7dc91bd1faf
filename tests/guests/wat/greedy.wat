;; Takes a mebibyte after the other and writes into all of it.
(func $hoard
  (local $page i32)
  (loop $again
    (local.set $page (memory.grow (i32.const 16)))
    (memory.fill (i32.mul (local.get $page) (i32.const 65536)) (i32.const 7) (i32.const 1048576))
    (br $again)))
(func $process (export "process") (param i32 i32 i32) (result i32)
  (call $hoard)
  (call $nothing))
