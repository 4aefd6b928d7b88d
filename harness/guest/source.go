package guest

import (
	_ "embed"

	"github.com/kernel-playground/kplay/harness/event"
)

//go:embed loader.go
var loaderSource string

//go:embed entropy.go
var entropySource string

//go:embed landing.go
var landingSource string

//go:embed line.go
var lineSource string

//go:embed modules.go
var modulesSource string

//go:embed mounts.go
var mountsSource string

// Source is the source of the loader and of what it says and hears. A template
// frozen at a loader of the same source is as good as one of this program's own.
var Source = loaderSource + entropySource + landingSource + lineSource + modulesSource + mountsSource + event.Source
