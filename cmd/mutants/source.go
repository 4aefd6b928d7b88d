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
)

// metapackage leads to the headers of the newest 6.1 cloud kernel.
const metapackage = "linux-headers-cloud-amd64"

// A source is fs/overlayfs and what it is built with.
type source struct {
	kernel  string // as kplay takes it: apt:PACKAGE=VERSION
	dir     string // fs/overlayfs as it is in the package
	headers string // the directory to give make -C
	built   string // where modules are kept
}

var (
	headersForm = regexp.MustCompile(`Depends: (linux-headers-(([0-9]+\.[0-9]+)\.[0-9]+-[0-9]+)-cloud-amd64)\n`)
	versionForm = regexp.MustCompile(`(?m)^Version: (\S+)$`)
)

// fetch has the sources and headers in the cache.
func fetch(ctx context.Context, cache string) (*source, error) {
	out, err := output(ctx, "", "apt-cache", "depends", metapackage)
	if err != nil {
		return nil, err
	}
	m := headersForm.FindStringSubmatch(out)
	if m == nil {
		return nil, errors.New(metapackage + " leads to no headers: run sudo apt-get update")
	}
	headers, abi, series := m[1], m[2], m[3]
	if out, err = output(ctx, "", "apt-cache", "show", "--no-all-versions", headers); err != nil {
		return nil, err
	}
	version := versionForm.FindStringSubmatch(out)
	if version == nil {
		return nil, errors.New(headers + " has no version: run sudo apt-get update")
	}
	dir := filepath.Join(cache, "mutants", version[1])
	s := &source{
		kernel:  "apt:" + strings.Replace(headers, "headers", "image", 1) + "=" + version[1],
		dir:     filepath.Join(dir, "fs", "overlayfs"),
		headers: filepath.Join(dir, "usr", "src", headers),
		built:   filepath.Join(dir, "built"),
	}
	if _, err := os.Stat(filepath.Join(s.dir, "Makefile")); err == nil {
		return s, nil
	}
	packages := []string{headers, "linux-headers-" + abi + "-common", "linux-kbuild-" + series, "linux-source-" + series}
	return s, s.unpack(ctx, dir, packages, version[1])
}

// unpack downloads the packages and takes out of them what is needed. The
// sources come last: they tell that all is there.
func (s *source) unpack(ctx context.Context, dir string, packages []string, version string) error {
	debs := filepath.Join(dir, "debs")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "download", strings.Join(packages, ", "), version)
	args := []string{"-q", "download"}
	for _, p := range packages {
		args = append(args, p+"="+version)
	}
	if _, err := output(ctx, debs, "apt-get", args...); err != nil {
		return fmt.Errorf("%w: run sudo apt-get update if its lists are old", err)
	}
	for _, p := range packages[:len(packages)-1] {
		if err := sh(ctx, dir, "dpkg-deb -x debs/"+p+"_*.deb ."); err != nil {
			return err
		}
	}
	// The packages' Makefile names the place they are installed in.
	common := filepath.Join(dir, "usr", "src", packages[1], "Makefile")
	if err := os.WriteFile(filepath.Join(s.headers, "Makefile"), []byte("include "+common+"\n"), 0o644); err != nil {
		return err
	}
	name := packages[len(packages)-1]
	err := sh(ctx, dir, "dpkg-deb --fsys-tarfile debs/"+name+"_*.deb | tar -xO ./usr/src/"+name+".tar.xz |"+
		" tar -xJ --strip-components=1 "+name+"/fs/overlayfs")
	return errors.Join(err, os.RemoveAll(debs))
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

// sh runs a command of the shell in dir.
func sh(ctx context.Context, dir, command string) error {
	_, err := output(ctx, dir, "sh", "-ec", command)
	return err
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
