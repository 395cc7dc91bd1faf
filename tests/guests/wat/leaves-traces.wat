;; Looks for anything but zeros in memory that it has just been given, and for anything at all in its table; fails if
;; somebody has left something there. Leaves traces in both itself, and traps.
(table $table 10 funcref)
(func $process (export "process") (param i32 i32 i32) (result i32)
  (local $at i32)
  (local.set $at (i32.mul (memory.size) (i32.const 65536)))
  (drop (memory.grow (i32.const 16)))
  (loop $next
    (if (i64.ne (i64.load (local.get $at)) (i64.const 0))
      (then (return (call $err (i32.const 128) (i32.const 7)))))
    (i64.store (local.get $at) (i64.const 0x6372616e61797921))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (br_if $next (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
  (local.set $at (i32.const 10))
  (loop $slot
    (local.set $at (i32.sub (local.get $at) (i32.const 1)))
    (if (i32.eqz (ref.is_null (table.get $table (local.get $at))))
      (then (return (call $err (i32.const 128) (i32.const 7)))))
    (br_if $slot (local.get $at)))
  (table.fill $table (i32.const 0) (ref.func $process) (i32.const 10))
  unreachable)
(elem declare func $process)
