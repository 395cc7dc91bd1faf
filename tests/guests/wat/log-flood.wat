;; Writes 5,000 lines that clear the screen and pretend to be the host's.
(data (i32.const 512) "\1b[2J\r\nERROR millstream: all is lost")
(func $process (export "process") (param i32 i32 i32) (result i32)
  (local $left i32)
  (local.set $left (i32.const 5000))
  (loop $again
    (call $log (i32.const 1) (i32.const 512) (i32.const 35))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (call $nothing))
