;; Makes one record of 2,000 bytes.
(data (i32.const 512) "MSF1\01\00\04\00\00\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00\10\08\00\00\00\00\00\00")
(data (i32.const 544) "\00\00\00\00\ff\ff\05\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\ff\ff\ff\ff\d0\07\00\00")
(func $process (export "process") (param i32 i32 i32) (result i32)
  (call $ok (i32.const 512) (i32.const 2064)))
