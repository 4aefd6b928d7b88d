package kernel

import (
	"context"
	"regexp"
)

// A Package is a package of the distribution that was downloaded. It is neither
// unpacked nor installed.
type Package struct {
	Path    string // of the .deb, in the cache
	Version string

	deb *deb
}

// Fetch has a package of the distribution in the cache. It is named as after
// apt:, NAME or NAME=VERSION. An error is a UserError if the distribution does
// not have it or there is no apt-get.
func Fetch(ctx context.Context, pkg string, o Options) (*Package, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	path, err := aptDownload(ctx, pkg, o)
	if err != nil {
		return nil, err
	}
	d, err := openPackage(path)
	if err != nil {
		return nil, err
	}
	d.close()
	return &Package{Path: path, Version: d.control["Version"], deb: d}, nil
}

// Depends lists what the package depends on whose name has the form, as NAME or,
// where it has to be exactly one version, NAME=VERSION.
func (p *Package) Depends(form *regexp.Regexp) (specs []string) {
	for _, r := range p.deb.depends(form) {
		specs = append(specs, r.spec())
	}
	return specs
}
