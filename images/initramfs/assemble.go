// Package initramfs makes what a machine boots besides its kernel: the cpio
// layer with the agent, the modules and a small userland, and the ELF kernel
// that lies compressed in a bzImage.
package initramfs

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/kernel-playground/kplay/images/initramfs/userland"
	"github.com/kernel-playground/kplay/images/kernel"
)

// A Spec says what goes into an initramfs.
type Spec struct {
	Agent   string            // executable that becomes /init, an x86_64 ELF file; usually os.Executable()
	Modules []kernel.Module   // in the order to load them
	Files   map[string]string // more files: path in the guest, absolute, to path on the host
}

// Where the modules are, and the file that lists them in the order to load
// them, one "name path" a line.
const (
	moduleDir  = "/lib/modules/kplay"
	moduleList = "/etc/kplay/modules"
)

// agentPath is where the kernel looks for the first process of an initramfs.
const agentPath = "/init"

// dirs are the mount points of the guest, and what programs expect to be there.
var dirs = []struct {
	path string
	mode uint64
}{
	{"/bin", 0o755},
	{"/dev", 0o755},
	{"/etc", 0o755},
	{"/lib", 0o755},
	{moduleDir, 0o755},
	{"/proc", 0o555},
	{"/root", 0o700},
	{"/run", 0o755},
	{"/sys", 0o555},
	{"/tmp", 0o1777},
}

// nodes are the devices needed before devtmpfs is mounted, or without it. The
// kernel opens /dev/console for the agent's standard files. The numbers are
// from Documentation/admin-guide/devices.txt.
var nodes = []cpio.Record{
	cpio.CharDev("/dev/console", 0o600, 5, 1),
	cpio.CharDev("/dev/kmsg", 0o644, 1, 11),
	cpio.CharDev("/dev/null", 0o666, 1, 3),
	cpio.CharDev("/dev/ttyS0", 0o600, 4, 64),
	cpio.CharDev("/dev/ttyS1", 0o600, 4, 65),
}

// Assemble makes the initramfs. The same spec gives the same bytes as long as
// the files it names stay the same. An agent that is linked dynamically has its
// loader and libraries carried along. An error names the file it is about.
func Assemble(ctx context.Context, spec Spec) (*Image, error) {
	f, err := newMemfd("kplay-initramfs")
	if err != nil {
		return nil, fmt.Errorf("assemble the initramfs: %w", err)
	}
	l := newLayer(f)
	err = l.fill(ctx, spec)
	if err == nil {
		err = cpio.WriteTrailer(l.w)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("assemble the initramfs: %w", err)
	}
	return seal(f)
}

func (l *layer) fill(ctx context.Context, spec Spec) error {
	for _, d := range dirs {
		if err := l.add(cpio.Directory(d.path, d.mode)); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := l.add(n); err != nil {
			return err
		}
	}
	if err := l.addAgent(spec.Agent); err != nil {
		return err
	}
	for _, name := range userland.Names() {
		if err := l.add(cpio.Symlink("/bin/"+name, agentPath)); err != nil {
			return err
		}
	}
	if err := l.addModules(ctx, spec.Modules); err != nil {
		return err
	}
	for _, guest := range slices.Sorted(maps.Keys(spec.Files)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.addFile(guest, spec.Files[guest]); err != nil {
			return err
		}
	}
	return nil
}

// addModules adds the modules, decompressed, and their list. The number in front
// of a name shows the order, and tells modules apart should names repeat.
func (l *layer) addModules(ctx context.Context, modules []kernel.Module) error {
	var list strings.Builder
	for i, m := range modules {
		if m.Name == "" || strings.ContainsAny(m.Name, "/ \t\n") {
			return fmt.Errorf("add module %q: that is no name of a module", m.Name)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := m.Data()
		if err != nil {
			return fmt.Errorf("add module %s: %w", m.Name, err)
		}
		guest := fmt.Sprintf("%s/%02d-%s.ko", moduleDir, i, m.Name)
		if err := l.addContent(guest, 0o644, bytes.NewReader(data), int64(len(data))); err != nil {
			return err
		}
		fmt.Fprintf(&list, "%s %s\n", m.Name, guest)
	}
	return l.add(cpio.StaticFile(moduleList, list.String(), 0o644))
}
