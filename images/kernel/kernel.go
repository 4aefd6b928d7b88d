// Package kernel finds, fetches, unpacks and describes a build: the kernel
// image, the modules that fit it, its configuration and the upstream release it
// was cut from.
//
// Packages are unpacked below Options.Cache, never installed: debs/ has what was
// downloaded, unpacked/ a directory for each package by its SHA-256, modules/
// what was decompressed. All of it can be deleted at any time.
package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A Build is one kernel under test.
type Build struct {
	NVR      string  // package name, version and release; empty for a bare image
	Release  string  // what uname -r prints in the guest
	Upstream Version // the upstream release or candidate it was cut from
	Image    string  // path of the bzImage
	Modules  string  // path of lib/modules/<Release>; empty if there are none
	Config   string  // path of the configuration; empty if unknown
	Digest   string  // SHA-256 of the image, hex
	Source   string  // what the user named, or what was chosen when nothing was named

	cache string // where decompressed modules are kept; empty for nowhere
}

// Options say where Open may keep things and whom it tells about its progress.
type Options struct {
	Cache    string       // directory for downloads and what is unpacked; empty means ~/.cache/kplay
	Progress func(string) // is given one plain line a step; may be nil
}

// say gives a line of progress to whoever wants it.
func (o Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// withDefaults fills in the cache directory, by the XDG base directory rules.
func (o Options) withDefaults() (Options, error) {
	if o.Cache != "" {
		return o, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return o, userErrorf("there is no place for the cache: set HOME or XDG_CACHE_HOME")
	}
	o.Cache = filepath.Join(dir, "kplay")
	return o, nil
}

// Open finds the build ref names, which is one of
//
//	FILE         a bzImage, or a .deb of a kernel
//	DIR          a directory a kernel is installed or unpacked in, or was built in
//	apt:PACKAGE  a package of the Debian or Ubuntu this machine runs
//	""           this machine's own kernel, or else what Latest gives
//
// What the user can put right comes back as a UserError.
func Open(ctx context.Context, ref string, o Options) (*Build, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	b, err := open(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	return b.from(ref, o), nil
}

// from notes what b was made from, unless that is known.
func (b *Build) from(ref string, o Options) *Build {
	if b.Source == "" {
		b.Source = ref
	}
	b.cache = o.Cache
	return b
}

// open tells the forms of ref apart. A name with a colon is a package only
// with the prefix apt:, so that files of any name can be opened.
func open(ctx context.Context, ref string, o Options) (*Build, error) {
	if ref == "" {
		return openRunning(ctx, o)
	}
	if name, ok := strings.CutPrefix(ref, "apt:"); ok {
		return openApt(ctx, name, o)
	}
	info, err := os.Stat(ref)
	if err != nil {
		return nil, readError(ref, err)
	}
	switch {
	case info.IsDir():
		return openDir(ref)
	case !info.Mode().IsRegular():
		return nil, userErrorf("%s is neither a file nor a directory", ref)
	}
	return openFile(ctx, ref, o)
}

// openFile tells a package from an image by what the file begins with.
func openFile(ctx context.Context, path string, o Options) (*Build, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, readError(path, err)
	}
	head := make([]byte, len(debMagic))
	n, err := io.ReadFull(f, head)
	f.Close()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, readError(path, err)
	}
	switch {
	case string(head[:n]) == debMagic:
		return openDeb(ctx, path, o)
	case strings.HasPrefix(string(head[:n]), rpmMagic):
		return nil, userErrorf("%s is an RPM package, which kplay cannot unpack yet: unpack it (rpm2cpio %[1]s | cpio -id) and name the directory", path)
	case strings.HasSuffix(path, ".deb"):
		return nil, userErrorf("%s is not a Debian package, whatever its name says: download it again", path)
	}
	return openImage(path)
}
