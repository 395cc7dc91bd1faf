;; Traps when there is a "!" anywhere in the frame, after saying why; else answers nothing.
(data (i32.const 512) "panicked at a bang")
(func $judge (param $byte i32)
  (if (i32.eq (local.get $byte) (i32.const 33))
    (then
      (call $log (i32.const 3) (i32.const 512) (i32.const 18))
      unreachable)))
(func $read (param $at i32) (param $end i32)
  (loop $next
    (if (i32.lt_u (local.get $at) (local.get $end))
      (then
        (call $judge (i32.load8_u (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))))
(func $process (export "process") (param $node i32) (param $at i32) (param $len i32) (result i32)
  (call $read (local.get $at) (i32.add (local.get $at) (local.get $len)))
  (call $nothing))
