package harness

// Lean are the kernel's parameters, for a test to spoil.
var Lean = &lean
