;; Built for a host of tomorrow.
(component
  (import "millstream:plugin/stores@0.2.0" (instance)))
