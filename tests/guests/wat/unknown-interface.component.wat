;; Wants an interface that our package does not have at this version.
(component
  (import "millstream:plugin/clock@0.1.0" (instance)))
