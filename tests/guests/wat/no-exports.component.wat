;; Wants nothing and can do nothing.
(component)
