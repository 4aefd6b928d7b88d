package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kernel-playground/kplay/images/flock"
	"github.com/kernel-playground/kplay/images/kernel"
)

// metapackage leads to the headers of the newest 6.1 cloud kernel on Debian 12.
const metapackage = "linux-headers-cloud-amd64"

// A source is fs/overlayfs and what it is built with.
type source struct {
	kernel  string // as kplay takes it: apt:PACKAGE=VERSION
	dir     string // fs/overlayfs as it is in the package
	headers string // the directory to give make -C
	built   string // where modules are kept
}

// errOther says that a distribution has other sources than the mutants are of.
var errOther = errors.New("the mutants are of the sources of Debian 12")

var headersForm = regexp.MustCompile(`^linux-headers-(6\.1)\.[0-9]+-[0-9]+-cloud-amd64$`)

// fetch has the sources and headers in the cache. The error is errOther or a
// kernel.UserError where they cannot be had.
func fetch(ctx context.Context, cache string) (*source, error) {
	o := kernel.Options{Cache: cache, Progress: func(line string) { fmt.Fprintln(os.Stderr, line) }}
	meta, err := kernel.Fetch(ctx, metapackage, o)
	if err != nil {
		return nil, err
	}
	needs := meta.Depends(headersForm)
	if len(needs) == 0 {
		return nil, fmt.Errorf("%w: %s leads to others", errOther, metapackage)
	}
	headers, version, _ := strings.Cut(needs[0], "=")
	dir := filepath.Join(cache, "mutants", version)
	s := &source{
		kernel: "apt:" + strings.Replace(needs[0], "headers", "image", 1),
		dir:    filepath.Join(dir, "fs", "overlayfs"),
		built:  filepath.Join(dir, "built"),
	}
	if s.headers, err = kernel.Headers(ctx, strings.TrimPrefix(headers, "linux-headers-"), o); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := flock.Lock(ctx, dir+".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := os.Stat(filepath.Join(s.dir, "Makefile")); err == nil {
		return s, nil
	}
	return s, unpack(ctx, dir, "linux-source-"+headersForm.FindStringSubmatch(headers)[1], version, o)
}

// unpack takes fs/overlayfs out of the package of the sources.
func unpack(ctx context.Context, dir, name, version string, o kernel.Options) error {
	sources, err := kernel.Fetch(ctx, name+"="+version, o)
	if err != nil {
		return err
	}
	_, err = output(ctx, dir, "sh", "-ec", `dpkg-deb --fsys-tarfile "$1" | tar -xO ./usr/src/$2.tar.xz | tar -xJ --strip-components=1 $2/fs/overlayfs`,
		"sh", sources.Path, name)
	return err
}

// fits checks that each mutant has one place in the sources.
func (s *source) fits(all []mutant) error {
	var wrong []error
	for _, m := range all {
		if _, err := s.planted(m); err != nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

// planted is the text of the mutant's file with the slip in it.
func (s *source) planted(m mutant) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, m.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(text, []byte(m.Old)); n != 1 {
		return nil, fmt.Errorf("%s: its text is found %d times in %s, want once", m, n, m.file)
	}
	return bytes.Replace(text, []byte(m.Old), []byte(m.New), 1), nil
}

// output runs a command in dir and gives what it prints; an error has the end of
// what it complained about.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(stderr.String()))
	}
	return stdout.String(), nil
}

// tailMax is how much of a command's complaints is shown, in bytes.
const tailMax = 2000

func tail(s string) string {
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-tailMax):]
}
