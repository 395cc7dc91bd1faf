;; Writes a value of 921,601 bytes; what the host says to that, the number of its case, is the guest's own error.
(data (i32.const 16384) "\01\00\00\00\00\00\00\00\01\00\00\00\01\10\0e\00k")
(func $process (export "process") (param i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 20)))
  (call $apply (i32.const 0) (i32.const 16384) (i32.const 921618) (i32.const 1024))
  (if (i32.load8_u (i32.const 1024)) (then (return (call $err (i32.const 1025) (i32.const 1)))))
  (call $nothing))
