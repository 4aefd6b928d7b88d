package harness

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/images/kernel"
)

// requirements are what a kernel must have been built with to be tested here.
// mark is a text its image holds in that case; it stands in for a configuration
// that is not at hand.
var requirements = []struct{ option, mark, without string }{
	{"CONFIG_BLK_DEV_INITRD", "unpacking failed: %s", "no initramfs support"},
	{"CONFIG_SERIAL_8250_CONSOLE", "ttyS\x00", "no serial console"},
}

// fit refuses a kernel that cannot be tested. elf says that vmlinux is an
// uncompressed image, which can be searched.
func fit(b *kernel.Build, vmlinux string, elf bool) error {
	var image []byte
	if b.Config == "" && elf {
		var err error
		if image, err = mapFile(vmlinux); err != nil {
			return err
		}
		defer unix.Munmap(image)
	}
	for _, r := range requirements {
		lacks := b.Config != "" && b.Option(r.option) != "y" ||
			image != nil && !bytes.Contains(image, []byte(r.mark))
		if lacks {
			return kernel.UserError(fmt.Sprintf("%s has %s: build it with %s=y", b.Image, r.without, r.option))
		}
	}
	return nil
}

func mapFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return b, nil
}
