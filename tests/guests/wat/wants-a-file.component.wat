;; Wants an interface nobody has heard of.
(component
  (import "acme:files/read@1.0.0" (instance)))
