package kernel

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kernel-playground/kplay/images/flock"
)

// partForm matches the packages that Debian's headers of one kernel share with
// others: the architecture's common headers, and what kbuild runs.
var partForm = regexp.MustCompile(`^linux-(headers-.*-common|kbuild-.*)$`)

// headersComplete is made in a directory of headers when all is there.
const headersComplete = ".complete"

// Headers has the headers of a Debian kernel in the cache, unpacked but not
// installed, and returns the directory to give to make -C. An error is a
// UserError if the distribution has none for that release or there is no apt-get.
func Headers(ctx context.Context, release string, o Options) (string, error) {
	o, err := o.withDefaults()
	if err != nil {
		return "", err
	}
	name := "linux-headers-" + release
	pkg, err := Fetch(ctx, name, o)
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(filepath.Join(o.Cache, "headers", name+"_"+pkg.Version))
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", cacheError(o.Cache, err)
	}
	unlock, err := flock.Lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	headers := filepath.Join(dir, "usr", "src", name)
	if isFile(filepath.Join(dir, headersComplete)) {
		return headers, nil
	}
	o.say("unpack %s", filepath.Base(pkg.Path))
	if err := pkg.unpackHeaders(ctx, dir, headers, o); err != nil {
		return "", err
	}
	return headers, cacheError(o.Cache, os.WriteFile(filepath.Join(dir, headersComplete), nil, 0o644))
}

// unpackHeaders unpacks the package, and those it shares with others, in dir.
func (p *Package) unpackHeaders(ctx context.Context, dir, headers string, o Options) error {
	if err := dpkg(ctx, "-x", p.Path, dir); err != nil {
		return err
	}
	for _, need := range p.Depends(partForm) {
		name, _, _ := strings.Cut(need, "=")
		part, err := Fetch(ctx, name+"="+p.Version, o)
		if err != nil {
			return err
		}
		if err := dpkg(ctx, "-x", part.Path, dir); err != nil {
			return err
		}
		if !strings.HasSuffix(name, "-common") {
			continue
		}
		// The package's own Makefile names the place it is installed in.
		include := "include " + filepath.Join(dir, "usr", "src", name, "Makefile") + "\n"
		if err := os.WriteFile(filepath.Join(headers, "Makefile"), []byte(include), 0o644); err != nil {
			return cacheError(o.Cache, err)
		}
	}
	return nil
}

// dpkg runs dpkg-deb.
func dpkg(ctx context.Context, args ...string) error {
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, "dpkg-deb", args...)
	cmd.Stderr = &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("dpkg-deb %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return nil
}
