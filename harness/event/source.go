package event

import _ "embed"

//go:embed conn.go
var connSource string

//go:embed frame.go
var frameSource string

//go:embed codec.go
var codecSource string

//go:embed event.go
var eventSource string

// Source is this package's own source: two programs with the same understand
// each other. A template that an earlier program made is known by it.
var Source = connSource + frameSource + codecSource + eventSource
