(table $table 1 funcref)
(func $process (export "process") (param i32 i32 i32) (result i32)
  (drop (table.grow $table (ref.null func) (i32.const 200000)))
  (call $nothing))
