// Package kernel finds, fetches, unpacks and describes a build: the kernel
// image, the modules that fit it, its configuration and the upstream release it
// was cut from.
package kernel

import "context"

// A Build is one kernel under test.
type Build struct {
	NVR      string  // package name-version-release; empty for a bare image
	Release  string  // what uname -r prints in the guest
	Upstream Version // the upstream release or candidate it was cut from
	Image    string  // path of the bzImage
	Modules  string  // path of lib/modules/<Release>; empty if there are none
	Config   string  // path of the configuration; empty if unknown
	Digest   string  // SHA-256 of the image, hex
	Source   string  // what the user named

	cache string // where decompressed modules are kept; empty for nowhere
}

// Options say where Open may keep things and whom it tells about its progress.
type Options struct {
	Cache    string       // directory for downloads and unpacked packages; empty means ~/.cache/kplay
	Progress func(string) // is given one plain line a step; may be nil
}

// Open finds the build ref names.
func Open(ctx context.Context, ref string, o Options) (*Build, error) {
	return nil, UserError("not there yet: " + ref)
}
