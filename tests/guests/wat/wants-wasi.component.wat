;; Would like to know the environment.
(component
  (import "millstream:plugin/runtime@0.1.0" (instance))
  (import "wasi:cli/environment@0.2.6" (instance))
  (import "wasi:sockets/tcp@0.2.6" (instance)))
