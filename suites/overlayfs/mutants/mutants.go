// Package mutants holds slips a developer could make in fs/overlayfs, each as a
// change of text, to measure the overlayfs suite by: `make mutants` builds the
// module with one of them after the other and looks whether a case fails.
//
// There is one TOML file for each source file, of tables such as
//
//	[[mutant]]
//	name = "group-forgotten"
//	slip = "The owner is copied without the group."
//	old = "ATTR_UID | ATTR_GID"   # must be found exactly once
//	new = "ATTR_UID"
//
// One that nobody can tell from the module as it is says why, as equivalent =
// "...", and is not planted.
//
// A mutant is planted for being plausible, not for being seen: one that no case
// sees is worth as much. Its place in the text is that of Debian's 6.1.
package mutants

import "embed"

// Files are the tables, as dir.toml for dir.c. They are parsed by cmd/mutants,
// for what is below suites keeps to the standard library.
//
//go:embed *.toml
var Files embed.FS
