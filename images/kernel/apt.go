package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// metaDepth is how many packages may lead to the one with the kernel: Ubuntu's
// linux-virtual depends on linux-image-virtual, and that on the kernel.
const metaDepth = 4

// aptForm is what apt-get takes as one package: NAME, NAME=VERSION or
// NAME/RELEASE. It keeps an option from being smuggled in.
var aptForm = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*([=/][A-Za-z0-9][A-Za-z0-9.+:~-]*)?$`)

// openApt downloads the package of a kernel, or the kernel a metapackage
// stands for, without installing it.
func openApt(ctx context.Context, pkg string, o Options) (*Build, error) {
	ref := "apt:" + pkg
	var next relation
	for range metaDepth {
		path, err := aptFetch(ctx, pkg, next, o)
		if err != nil {
			return nil, err
		}
		d, err := openPackage(path)
		if err != nil {
			return nil, err
		}
		d.close()
		var meta bool
		if next, meta = d.leadsTo(); meta {
			pkg = next.spec()
			continue
		}
		for _, modules := range d.depends(modulesForm) {
			modules.version = d.control["Version"]
			if _, err := aptFetch(ctx, modules.spec(), modules, o); err != nil {
				return nil, err
			}
		}
		return openDeb(ctx, path, o)
	}
	return nil, userErrorf("%s leads to no kernel: name a linux-image package", ref)
}

// leadsTo is the package to go on with if d is a metapackage. The name of one
// can look like an image's: linux-image-6.12-cloud-amd64.
func (d *deb) leadsTo() (relation, bool) {
	if next := d.depends(imageForm); len(next) > 0 {
		return next[0], true
	}
	if next := d.depends(metaForm); len(next) > 0 && !imageForm.MatchString(d.control["Package"]) {
		return next[0], true
	}
	return relation{}, false
}

// spec is the relation as apt-get takes it.
func (r relation) spec() string {
	if r.version == "" {
		return r.name
	}
	return r.name + "=" + r.version
}

// aptFetch is aptDownload, but when the exact version is known it takes what is
// in the cache without asking apt-get, which needs half a second to answer.
func aptFetch(ctx context.Context, pkg string, exact relation, o Options) (string, error) {
	path := filepath.Join(o.Cache, "debs", exact.name+"_"+exact.version+"_amd64.deb")
	if exact.version != "" && isFile(path) {
		return path, nil
	}
	return aptDownload(ctx, pkg, o)
}

// aptDownload has the package's file in the cache and gives its path. Files of
// the right content are not downloaded again.
func aptDownload(ctx context.Context, pkg string, o Options) (string, error) {
	if !aptForm.MatchString(pkg) {
		return "", userErrorf("apt:%s is not the name of a package: write apt:NAME, apt:NAME=VERSION or apt:NAME/RELEASE", pkg)
	}
	out, err := aptAnswer(ctx, pkg, o)
	if err != nil {
		return "", err
	}
	f, err := parseURI(out)
	if err != nil {
		return "", fmt.Errorf("ask apt-get for %s: %w", pkg, err)
	}
	dir := filepath.Join(o.Cache, "debs")
	path := filepath.Join(dir, f.name)
	if sum, err := digest(path); err == nil && sum == f.sha256 {
		return path, nil
	}
	o.say("download %s (%.1f MB)", f.name, float64(f.size)/1e6)
	return path, f.download(ctx, pkg, dir, o)
}

// download has apt-get put the file into a directory of its own first, so that
// half a file is never found under its name.
func (f aptFile) download(ctx context.Context, pkg, dir string, o Options) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return cacheError(o.Cache, err)
	}
	part, err := os.MkdirTemp(dir, ".part-*")
	if err != nil {
		return cacheError(o.Cache, err)
	}
	defer os.RemoveAll(part)
	if _, err := apt(ctx, part, pkg, "-q", "download", pkg); err != nil {
		return err
	}
	return cacheError(o.Cache, os.Rename(filepath.Join(part, f.name), filepath.Join(dir, f.name)))
}

// An aptFile is the file apt-get would download for a package.
type aptFile struct {
	name   string
	size   int64
	sha256 string // hex; empty if apt-get gives another sum
}

var uriForm = regexp.MustCompile(`(?m)^'[^']*' (\S+\.deb) (\d+)(?: SHA256:([0-9a-f]{64}))?`)

// parseURI reads what apt-get --print-uris prints: 'URI' NAME SIZE SUM.
func parseURI(out string) (aptFile, error) {
	m := uriForm.FindStringSubmatch(out)
	if m == nil || !plainName(m[1]) {
		return aptFile{}, fmt.Errorf("it printed %q, which names no file", out)
	}
	size, err := strconv.ParseInt(m[2], 10, 64)
	return aptFile{m[1], size, m[3]}, err
}

// apt runs apt-get in dir and gives what it prints.
func apt(ctx context.Context, dir, pkg string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C") // its messages are read below
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	switch {
	case err == nil:
		return stdout.String(), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return "", userErrorf("apt:%s needs apt-get, which this machine does not have: name a bzImage, a .deb or a directory", pkg)
	}
	return "", aptError(pkg, stderr.String())
}

// aptError turns the errors apt-get prints into one line that says what to do.
func aptError(pkg, stderr string) error {
	reason := "it gives no reason"
	for line := range strings.Lines(stderr) {
		if text, ok := strings.CutPrefix(line, "E: "); ok {
			reason = strings.TrimSpace(text)
			break
		}
	}
	switch {
	case strings.Contains(reason, "Unable to locate"), strings.Contains(reason, "Can't select"), strings.Contains(reason, "No packages found"), strings.Contains(reason, "was not found"):
		return userErrorf("apt-get knows no package %s: its lists may be missing or old, run sudo apt-get update; or else mend the name", pkg)
	case strings.Contains(stderr, "No space left on device"):
		return userErrorf("no space left to download %s: delete something from the cache", pkg)
	}
	return userErrorf("apt-get did not download %s (%s): run sudo apt-get update if its lists are old, and try again", pkg, reason)
}
