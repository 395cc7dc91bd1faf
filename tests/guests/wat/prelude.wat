;; The first part of every guest in this directory: our imports, memory, an allocator that forgets everything after
;; each call, a topology of one processor, and the two ways to answer. tests/src/guests.rs puts a guest behind it,
;; closes the module and makes it a component.

(import "millstream:plugin/stores@0.1.0" "get-many" (func $get_many (param i32 i32 i32 i32)))
(import "millstream:plugin/stores@0.1.0" "apply" (func $apply (param i32 i32 i32 i32)))
(import "millstream:plugin/runtime@0.1.0" "log" (func $log (param i32 i32 i32)))

(memory (export "memory") 2)
(global $free (mut i32) (i32.const 65536))

(func $cabi_realloc (export "cabi_realloc")
  (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
  (global.set $free (i32.add (local.get $at) (local.get $len)))
  (block $fits
    (loop $grow
      (br_if $fits (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    unreachable)
  (local.get $at))

(func (export "cabi_post_process") (param i32)
  (global.set $free (i32.const 65536)))

;; Answers live at 0: 0 = ok or 1 = err, address, length.
(func $answer (param $kind i32) (param $at i32) (param $len i32) (result i32)
  (i32.store (i32.const 0) (local.get $kind))
  (i32.store (i32.const 4) (local.get $at))
  (i32.store (i32.const 8) (local.get $len))
  (i32.const 0))
(func $ok (param $at i32) (param $len i32) (result i32)
  (call $answer (i32.const 0) (local.get $at) (local.get $len)))
(func $err (param $at i32) (param $len i32) (result i32)
  (call $answer (i32.const 1) (local.get $at) (local.get $len)))

;; A result frame without elements, 32 bytes.
(data (i32.const 64) "MSF1\01\00\04\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\20\00\00\00\00\00\00\00")
(func $nothing (result i32)
  (call $ok (i32.const 64) (i32.const 32)))
