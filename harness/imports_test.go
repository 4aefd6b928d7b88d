package harness_test

import (
	"os/exec"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

const module = "github.com/kernel-playground/kplay/"

// layers says what a package of this module may import, directly or not. A name
// that ends in /... stands for what is below it too. Tests are free.
var layers = map[string][]string{
	"suites":                    {},
	"suites/overlayfs":          {"suites"},
	"suites/overlayfs/mutants":  {},
	"suites/kdbus":              {"suites", "suites/kdbus/kdbusclient"},
	"suites/kdbus/kdbusclient":  {},
	"suites/selftest":           {"suites", "suites/selftest/...", "harness/event"},
	"suites/selftest/tinymod":   {},
	"suites/all":                {"suites/...", "suites", "harness/event"},
	"harness/event":             {},
	"harness/crash":             {},
	"harness/crash/symbol":      {"harness/crash"},
	"harness/guest":             {"suites", "harness/event"},
	"harness/vm":                {},
	"harness/template":          {"harness/vm", "images/flock"},
	"images/disk":               {"suites"},
	"images/flock":              {},
	"images/kdbus":              {},
	"images/kernel":             {"images/flock"},
	"images/initramfs":          {"images/kernel", "images/flock", "images/initramfs/userland"},
	"images/initramfs/userland": {},
	"results":                   {"harness/crash", "harness/event"},
	"results/report":            {"results", "harness/crash", "harness/event"},
	"harness":                   {"harness/...", "images/...", "suites", "results"},
	"harness/kerneltest":        {"harness", "harness/...", "images/...", "suites", "results", "results/report"},
	"cmd/mutants":               {"harness", "harness/...", "images/...", "suites", "suites/overlayfs", "suites/overlayfs/mutants", "results", "results/report"},
	"cmd/kplay":                 {"harness", "harness/...", "images/...", "suites", "suites/...", "results", "results/report"},
}

// standardOnly are the packages that use nothing but the standard library and
// golang.org/x/sys.
var standardOnly = []string{
	"suites", "suites/overlayfs", "suites/kdbus", "suites/kdbus/kdbusclient", "suites/selftest",
	"harness/event", "harness/crash", "harness/crash/symbol", "harness/guest",
}

// owners says which package alone may import a library.
var owners = map[string]string{
	"github.com/digitalocean/go-qemu": "harness/vm",
	"github.com/u-root/u-root":        "images/initramfs",
}

func TestImportsPointDown(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Deps \" \"}}", "../...").Output()
	assert.NilError(t, err)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		allowed, known := layers[pkg]
		if !known {
			t.Errorf("%s has no place in the layers", pkg)
		}
		for _, dep := range fields[1:] {
			if own, ok := strings.CutPrefix(dep, module); ok && !permits(allowed, own) {
				t.Errorf("%s imports %s", pkg, own)
			}
		}
	}
}

func permits(allowed []string, dep string) bool {
	for _, a := range allowed {
		below, tree := strings.CutSuffix(a, "...")
		if a == dep || tree && strings.HasPrefix(dep, below) {
			return true
		}
	}
	return false
}

func TestLeavesKeepToTheStandardLibrary(t *testing.T) {
	for _, pkg := range standardOnly {
		out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "../"+pkg).Output()
		assert.NilError(t, err)
		for _, dep := range strings.Fields(string(out)) {
			if !strings.HasPrefix(dep, module) && !strings.HasPrefix(dep, "golang.org/x/sys/") {
				t.Errorf("%s depends on %s", pkg, dep)
			}
		}
	}
}

func TestLibrariesHaveOneOwner(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "../...").Output()
	assert.NilError(t, err)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		for _, dep := range fields[1:] {
			for library, owner := range owners {
				if strings.HasPrefix(dep, library) && !strings.HasPrefix(fields[0], module+owner) {
					t.Errorf("%s imports %s, which only %s may", fields[0], dep, owner)
				}
			}
		}
	}
}
