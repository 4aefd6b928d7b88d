// Package kdbus carries the kdbus kernel module as C sources and builds it for a
// kernel.
//
// kdbus is an inter-process bus in the kernel that was proposed in 2014 and 2015
// and never merged. The module in the directory module is an implementation of
// its interface for kernels of today: it is built against the headers of Linux
// 6.1 and 6.12 as Debian ships them, and its design is told in its main.c. It is
// not the code of 2015; where it behaves differently on purpose, a comment that
// has that year says so. It is licensed under the GPL, version 2, for it uses
// symbols that the kernel exports to such modules only.
//
// One promise of 2015 it cannot keep: metadata that a sender withholds is shown
// to receivers that could read it in procfs, and whether procfs was mounted with
// hidepid is nothing a module can find out any more (see meta.c).
//
// The sources are in the binary, so that a module can be built wherever there
// are make, a compiler and the headers of the kernel it is for.
package kdbus

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Source holds the module's sources and its Kbuild in the directory "module".
//
//go:embed module/*.c module/*.h module/Kbuild module/Makefile
var Source embed.FS

// Module is the name of the module; its file is called Module + ".ko".
const Module = "kdbus"

// Build compiles the module against headers, the directory one gives to make -C
// (/lib/modules/RELEASE/build), and puts it into the directory into, which must
// exist. It returns the module's path there. The file appears whole or not at
// all; one that is there already is replaced. An error has what the compiler
// said.
func Build(ctx context.Context, headers, into string) (path string, err error) {
	// In the same file system, so that the module can be renamed into place.
	dir, err := os.MkdirTemp(into, ".kdbus-build-")
	if err != nil {
		return "", fmt.Errorf("build kdbus: %w", err)
	}
	defer os.RemoveAll(dir)
	source, err := fs.Sub(Source, "module")
	if err != nil {
		return "", fmt.Errorf("build kdbus: %w", err)
	}
	if err := os.CopyFS(dir, source); err != nil {
		return "", fmt.Errorf("build kdbus: write its sources: %w", err)
	}
	if err := compile(ctx, headers, dir); err != nil {
		return "", err
	}
	path = filepath.Join(into, Module+".ko")
	if err := os.Rename(filepath.Join(dir, Module+".ko"), path); err != nil {
		return "", fmt.Errorf("build kdbus: %w", err)
	}
	return path, nil
}

// compile runs the kernel's build in dir. kbuild splits paths at white space, so
// headers and dir are best without. Type information (BTF) is left out: nothing
// here reads it, and pahole, which makes it, is often missing.
func compile(ctx context.Context, headers, dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("build kdbus: %w", err)
	}
	cmd := exec.CommandContext(ctx, "make", "-C", headers, "M="+abs, "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("build kdbus against %s: %w\n%s", headers, err, tail(string(out)))
	}
	return nil
}

// tailMax is how much of the compiler's output an error has, in bytes: the end,
// where make says which file it was, and some errors before.
const tailMax = 4000

func tail(s string) string {
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-tailMax):]
}
