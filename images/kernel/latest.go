package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// newest names the metapackages that follow a distribution's newest kernel, by
// the ID of os-release(5). The kernel for virtual machines comes first: it is
// half the size and has what QEMU needs.
var newest = map[string][]string{
	"debian": {"linux-image-cloud-amd64", "linux-image-amd64"},
	"ubuntu": {"linux-image-virtual", "linux-image-generic"},
}

// Latest opens the newest kernel the distribution of this machine offers. It is
// downloaded and unpacked in the cache, not installed.
func Latest(ctx context.Context, o Options) (*Build, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, readError("/etc/os-release", err)
	}
	packages, err := newestFor(string(text))
	if err != nil {
		return nil, err
	}
	var first error
	for _, pkg := range packages {
		b, err := openApt(ctx, pkg, o)
		if err == nil {
			return b.from("apt:"+pkg, o), nil
		}
		if user := (UserError)(""); !errors.As(err, &user) {
			return nil, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// newestFor chooses the metapackages for a machine with this os-release.
func newestFor(osRelease string) ([]string, error) {
	var ids []string
	for line := range strings.Lines(osRelease) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.Trim(value, `"'`); key {
		case "ID":
			ids = append([]string{value}, ids...)
		case "ID_LIKE":
			ids = append(ids, strings.Fields(value)...)
		}
	}
	for _, id := range ids {
		if packages := newest[id]; packages != nil {
			return packages, nil
		}
	}
	if slices.Contains(ids, "fedora") {
		return nil, UserError("kplay cannot unpack RPM packages yet: unpack a kernel-core and a kernel-modules-core yourself and name the directory, or name a bzImage")
	}
	return nil, UserError("kplay knows no kernel package of this distribution: name a bzImage, a .deb or a directory")
}

// openRunning opens the kernel this machine runs if its image and modules can
// be read, and the distribution's newest if not.
func openRunning(ctx context.Context, o Options) (*Build, error) {
	release, err := runningRelease()
	if err != nil {
		return nil, err
	}
	b, err := openInstalled("/", release)
	if err == nil {
		return b.from(b.Image, o), nil
	}
	o.say("this machine's own kernel %s is no choice: %v", release, err)
	return Latest(ctx, o)
}

// runningRelease is what uname -r prints on this machine.
func runningRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("ask for the running kernel: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// openInstalled opens the kernel of that release installed below root.
func openInstalled(root, release string) (*Build, error) {
	for _, place := range []string{"boot/vmlinuz-*", "lib/modules/*/vmlinuz"} {
		path := filepath.Join(root, strings.ReplaceAll(place, "*", release))
		if !isFile(path) {
			continue
		}
		b, err := openImage(path)
		if err != nil {
			return nil, err
		}
		if b.Modules == "" {
			return nil, userErrorf("%s has no modules beside it", path)
		}
		return b, nil
	}
	return nil, userErrorf("it is in neither /boot nor /lib/modules")
}
