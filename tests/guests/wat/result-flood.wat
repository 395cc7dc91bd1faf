;; Makes 10,000 records of one.
(func $process (export "process") (param i32 i32 i32) (result i32)
  (local $at i32)
  (drop (memory.grow (i32.const 6)))
  (memory.copy (i32.const 131072) (i32.const 64) (i32.const 32))
  (i32.store (i32.const 131088) (i32.const 10000))
  (i32.store (i32.const 131096) (i32.const 320032))
  (local.set $at (i32.const 131104))
  (loop $next
    (i32.store (i32.add (local.get $at) (i32.const 4)) (i32.const 0x0007ffff))
    (i64.store (i32.add (local.get $at) (i32.const 24)) (i64.const -1))
    (local.set $at (i32.add (local.get $at) (i32.const 32)))
    (br_if $next (i32.lt_u (local.get $at) (i32.const 451104))))
  (call $ok (i32.const 131072) (i32.const 320032)))
