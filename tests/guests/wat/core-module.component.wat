;; A module, not a component.
(module)
