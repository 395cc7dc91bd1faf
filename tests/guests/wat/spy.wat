;; Looks for the word "hunter2" in all of its memory, where only the host could have put it; fails if it is there.
(func $process (export "process") (param i32 i32 i32) (result i32)
  (local $at i32)
  (loop $next
    (if (i32.and
          (i32.eq (i32.load (local.get $at)) (i32.xor (i32.const 0x8b918a97) (i32.const -1)))
          (i32.eq (i32.load8_u offset=6 (local.get $at)) (i32.const 0x32)))
      (then (return (call $err (i32.const 128) (i32.const 7)))))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $at) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 16)))))
  (call $nothing))
