package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Where a kernel lies below a directory the user named. A star stands for the
// release.
var imagePlaces = []string{
	"boot/vmlinuz-*",            // Debian, Ubuntu; Fedora's installed copy
	"lib/modules/*/vmlinuz",     // Fedora's package
	"usr/lib/modules/*/vmlinuz", // the same where /lib is a link or is not used
	"vmlinuz-*",                 // the user named boot itself
	"vmlinuz",                   // the user named lib/modules/RELEASE
	"arch/x86/boot/bzImage",     // a tree the kernel was built in
}

// Where the modules of a release lie, seen from the image's directory.
var modulePlaces = []string{
	"../lib/modules/*",     // from boot
	"../usr/lib/modules/*", // the same
	"../*",                 // from lib/modules/RELEASE itself
}

// treeConfig is where the configuration lies in a build tree, whose image is
// three levels down.
const treeConfig = "../../../.config"

// Where the configuration lies, seen from the image's directory.
var configPlaces = []string{
	treeConfig,
	"config-*",
	"../boot/config-*",
	"../lib/modules/*/config",
	"../usr/lib/modules/*/config",
	"../*/config",
}

// openDir opens the one kernel below dir. None, or several, is a UserError.
func openDir(dir string) (*Build, error) {
	if _, err := os.ReadDir(dir); err != nil {
		return nil, readError(dir, err)
	}
	images := imagesIn(dir)
	switch len(images) {
	case 0:
		return nil, userErrorf("there is no kernel in %s: looked for %s", dir, strings.Join(imagePlaces, ", "))
	case 1:
		return openImage(images[0])
	}
	return nil, userErrorf("there are %d kernels in %s: name one of %s", len(images), dir, strings.Join(images, ", "))
}

// imagesIn lists the kernel images below dir, one for each release.
func imagesIn(dir string) []string {
	var images []string
	seen := make(map[string]bool)
	for _, place := range imagePlaces {
		found, _ := filepath.Glob(filepath.Join(globQuote(dir), place))
		for _, image := range found {
			if name := releaseInPath(image); !seen[name] && !strings.HasPrefix(name, "0-rescue-") {
				seen[name] = true
				images = append(images, image)
			}
		}
	}
	if len(images) == 0 {
		images = debianSiblings(dir)
	}
	slices.Sort(images)
	return images
}

// debianSiblings finds the image that belongs to a Debian lib/modules/RELEASE,
// in which there is none.
func debianSiblings(modules string) []string {
	abs, err := filepath.Abs(modules)
	if err != nil || filepath.Base(filepath.Dir(abs)) != "modules" {
		return nil
	}
	for _, up := range []string{"../../..", "../../../.."} {
		image := filepath.Join(abs, up, "boot", "vmlinuz-"+filepath.Base(abs))
		if _, err := os.Stat(image); err == nil {
			return []string{image}
		}
	}
	return nil
}

// releaseInPath is the release an image's path tells: two paths that tell the
// same are copies of one kernel. Links are followed first, since Debian has one
// at /vmlinuz.
func releaseInPath(image string) string {
	if real, err := filepath.EvalSymlinks(image); err == nil {
		image = real
	}
	base := filepath.Base(image)
	if release, ok := strings.CutPrefix(base, "vmlinuz-"); ok {
		return release
	}
	if abs, err := filepath.Abs(image); err == nil {
		return filepath.Base(filepath.Dir(abs))
	}
	return base
}

// openImage describes the bzImage at path by its header and by what lies
// beside it. A kernel without modules or configuration is none the worse: all
// it has may be built in. Modules of another release are a UserError, because
// the kernel would refuse every one of them.
func openImage(path string) (*Build, error) {
	h, err := readHeader(path)
	if err != nil {
		return nil, err
	}
	sum, err := digest(path)
	if err != nil {
		return nil, err
	}
	release := h.Release()
	b := &Build{Release: release, Upstream: upstream(h.Version, release), Image: path, Digest: sum}
	// A link, as bzImage is below arch/x86_64, leads to where the siblings are.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	b.Modules = beside(path, modulePlaces, release, isModules)
	b.Config = beside(path, configPlaces, release, isFile)
	if dir := filepath.Dir(path); b.Modules == "" && isModules(dir) && filepath.Base(path) == "vmlinuz" {
		return nil, userErrorf("%s is a kernel %s among the modules of %s: they will not load, install both from one build", path, release, filepath.Base(dir))
	}
	return b, nil
}

// beside is the first of places, seen from the image's directory, that is
// there; empty if none is. A build tree's place is looked at for a bzImage
// only: from /boot/vmlinuz it would be the root directory.
func beside(image string, places []string, release string, is func(string) bool) string {
	dir := filepath.Dir(image)
	for _, place := range places {
		if place == treeConfig && filepath.Base(image) != "bzImage" {
			continue
		}
		path := filepath.Join(dir, strings.ReplaceAll(place, "*", release))
		if is(path) {
			return path
		}
	}
	return ""
}

// isFile reports whether path is, or leads to, a regular file.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// isModules reports whether dir holds modules: an uninstalled kernel leaves
// its directory behind when something else had put files there.
func isModules(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "kernel"))
	return err == nil && info.IsDir() || isFile(filepath.Join(dir, "modules.builtin"))
}

// globQuote escapes what filepath.Glob would take for a pattern.
func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// isDir reports whether path is, or leads to, a directory.
func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
