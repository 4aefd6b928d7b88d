package suites

import _ "embed"

// Features is features.toml: what the playground carries, as TOML. It is parsed
// by harness, for this package keeps to the standard library.
//
//go:embed features.toml
var Features []byte
