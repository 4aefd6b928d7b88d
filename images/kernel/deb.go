package kernel

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

const (
	debMagic = "!<arch>\n"
	rpmMagic = "\xed\xab\xee\xdb"

	arHeaderSize = 60
	arMembersMax = 16 // deb(5) names three; a signature may follow

	controlMax = 1 << 20
)

// A deb is an open Debian package, as deb(5) describes it.
type deb struct {
	file    *os.File
	path    string
	control map[string]string // the fields used here, by name
	data    member
}

// A member is a file in an ar archive. The two Go libraries for ar fail on
// hostile headers: one panics, the other does not move on.
type member struct {
	name string
	*io.SectionReader
}

var errCut = errors.New("it ends too early")

// openPackage reads the control fields of a .deb and finds its data.
func openPackage(path string) (*deb, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, readError(path, err)
	}
	d := &deb{file: f, path: path}
	if err := d.read(); err != nil {
		f.Close()
		return nil, damaged(path, err)
	}
	return d, nil
}

// damaged is the UserError for a package that cannot be read. An error that is
// one already has the better words.
func damaged(path string, err error) error {
	if user := (UserError)(""); errors.As(err, &user) {
		return err
	}
	return userErrorf("%s is damaged or cut short (%v): download it again", path, err)
}

// close ends access to the data; the control fields stay.
func (d *deb) close() { d.file.Close() }

// read finds the two members that matter by the front of their names, which go
// on with the compression: control.tar.xz, data.tar.zst.
func (d *deb) read() error {
	info, err := d.file.Stat()
	if err != nil {
		return err
	}
	members, err := readAr(d.file, info.Size())
	if err != nil {
		return err
	}
	for _, m := range members {
		switch name, _, _ := strings.Cut(m.name, ".tar"); name {
		case "control":
			d.control, err = readControl(m)
		case "data":
			d.data = m
		}
		if err != nil {
			return err
		}
	}
	if d.control == nil || d.data.SectionReader == nil {
		return errCut
	}
	return nil
}

// readAr lists the members of an ar archive of the given size, each of which
// lies within it.
func readAr(r io.ReaderAt, size int64) ([]member, error) {
	var members []member
	head := make([]byte, arHeaderSize)
	for at := int64(len(debMagic)); at < size; {
		if _, err := r.ReadAt(head, at); err != nil {
			return nil, errCut
		}
		at += arHeaderSize
		n, err := strconv.ParseUint(strings.TrimSpace(string(head[48:58])), 10, 63)
		if err != nil || string(head[58:]) != "`\n" || len(members) == arMembersMax {
			return nil, errors.New("it is not an ar archive of a package")
		}
		if int64(n) > size-at {
			return nil, errCut
		}
		name := strings.TrimSuffix(strings.TrimSpace(string(head[:16])), "/")
		members = append(members, member{name, io.NewSectionReader(r, at, int64(n))})
		at += int64(n + n%2)
	}
	return members, nil
}

// tar opens a member that is a tar archive, compressed or not.
func (m member) tar() (io.ReadCloser, error) {
	return decompress(m, path.Ext(m.name), ".tar")
}

// readControl reads the fields of the control file, deb-control(5), in the
// member that holds it.
func readControl(m member) (map[string]string, error) {
	z, err := m.tar()
	if err != nil {
		return nil, err
	}
	defer z.Close()
	t := tar.NewReader(io.LimitReader(z, 16*controlMax))
	for {
		h, err := t.Next()
		if err != nil {
			return nil, fmt.Errorf("find its control file: %w", err)
		}
		if path.Clean(h.Name) != "control" {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(t, controlMax))
		if err != nil {
			return nil, err
		}
		return parseControl(string(text)), nil
	}
}

// parseControl reads the fields that fit on one line, as all do that matter
// here.
func parseControl(text string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok && line[0] != ' ' {
			fields[name] = strings.TrimSpace(value)
		}
	}
	return fields
}

// A relation is one package another depends on.
type relation struct {
	name    string
	version string // exactly this one; empty for any
}

var (
	relationForm = regexp.MustCompile(`(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]*)(?:\s*\(=\s*([^)\s]+)\s*\))?`)

	// imageForm tells the package of a kernel from one that only follows the
	// newest: the kernel's name goes on with its release.
	imageForm = regexp.MustCompile(`^linux-image-(unsigned-)?\d`)
	metaForm  = regexp.MustCompile(`^linux-image-`)
)

// depends lists what the package depends on whose name has the form.
func (d *deb) depends(form *regexp.Regexp) []relation {
	var out []relation
	for _, m := range relationForm.FindAllStringSubmatch(d.control["Depends"], -1) {
		if form.MatchString(m[1]) {
			out = append(out, relation{m[1], m[2]})
		}
	}
	return out
}

// openDeb unpacks a .deb of a kernel into the cache, unless it is there, and
// opens what was in it. Ubuntu keeps the modules in packages of their own: those
// that lie beside the .deb are unpacked with it.
func openDeb(ctx context.Context, path string, o Options) (*Build, error) {
	d, err := openPackage(path)
	if err != nil {
		return nil, err
	}
	defer d.close()
	if arch := d.control["Architecture"]; arch != "amd64" && arch != "all" {
		return nil, userErrorf("%s is for the architecture %s: kplay boots amd64 kernels", path, arch)
	}
	paths := []string{path}
	for _, modules := range d.modulePackages() {
		if beside := filepath.Join(filepath.Dir(path), modules); isFile(beside) {
			paths = append(paths, beside)
		} else {
			o.say("%s is not beside %s: going on without its modules", modules, filepath.Base(path))
		}
	}
	dir, err := unpacked(ctx, paths, o)
	if errors.Is(err, errNoKernel) {
		return nil, d.noKernel()
	}
	if err != nil {
		return nil, err
	}
	b, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	b.NVR = d.control["Package"] + "-" + d.control["Version"]
	if v := upstream(d.control["Version"]); v != (Version{}) {
		b.Upstream = v
	}
	return b, nil
}

var modulesForm = regexp.MustCompile(`^linux-modules-\d`)

// modulePackages are the file names of the packages with the kernel's modules,
// for distributions that keep them apart.
func (d *deb) modulePackages() []string {
	var names []string
	for _, r := range d.depends(modulesForm) {
		names = append(names, fmt.Sprintf("%s_%s_%s.deb", r.name, d.control["Version"], d.control["Architecture"]))
	}
	return names
}

// noKernel is the UserError for a package without a kernel in it.
func (d *deb) noKernel() error {
	if next := d.depends(metaForm); len(next) > 0 {
		return userErrorf("%s has no kernel in it, it only depends on %s: name that, as apt:%[2]s or as a file", d.path, next[0].name)
	}
	return userErrorf("%s has no kernel in it: name a linux-image package", d.path)
}
