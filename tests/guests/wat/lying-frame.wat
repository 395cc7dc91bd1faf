;; Answers a well-formed header for one element whose key is said to have 2 GiB.
(data (i32.const 512) "MSF1\01\00\04\00\00\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00\40\00\00\00\00\00\00\00")
(data (i32.const 544) "\00\00\00\00\ff\ff\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\ff\ff\ff\7f\ff\ff\ff\ff")
(func $process (export "process") (param i32 i32 i32) (result i32)
  (call $ok (i32.const 512) (i32.const 64)))
