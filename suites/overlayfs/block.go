package overlayfs

import (
	"errors"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// blockCases use files of the overlay in the ways that go past the page cache, or
// to where the data lies.
var blockCases = withDisks("ext4", "", []suites.Case{
	{
		Name: "block-direct",
		Doc:  "What is written past the page cache to a lower file, which is copied up, is read back both ways; what is not aligned is refused with EINVAL (open(2), O_DIRECT).",
		Run: func(t *suites.T) {
			text := long(16 << 10)
			o := newOverlay(t, allOn("ext4", ""), lower(file("a", text)))
			block := aligned(4096)
			fd := o.open("a", unix.O_RDWR|unix.O_DIRECT)
			copy(block, "direct")
			_, err := unix.Pwrite(fd, block, 8192)
			o.do("write", err)
			clear(block)
			_, err = unix.Pread(fd, block, 8192)
			o.do("read", err)
			if string(block[:6]) != "direct" {
				t.Errorf("read %q, want direct", block[:6])
			}
			_, err = unix.Pwrite(fd, block[:100], 8192)
			o.refused("write what is not aligned", err, unix.EINVAL)
			unix.Close(fd)
			o.shows(file("a", text[:8192]+"direct"+string(make([]byte, 4090))+text[12288:]))
		},
	},
	{
		Name: "block-direct-read",
		Doc:  "A lower file is read past the page cache without being copied up (open(2), O_DIRECT).",
		Run: func(t *suites.T) {
			text := long(16 << 10)
			o := newOverlay(t, allOn("ext4", ""), lower(file("a", text)))
			block := aligned(4096)
			fd := o.open("a", unix.O_RDONLY|unix.O_DIRECT)
			_, err := unix.Pread(fd, block, 4096)
			o.do("read", errors.Join(err, unix.Close(fd)))
			if string(block) != text[4096:8192] {
				t.Errorf("read %s, want %s", show(string(block)), show(text[4096:8192]))
			}
			o.upperHolds()
			o.shows(file("a", text))
		},
	},
	{
		Name: "block-map",
		Doc:  "FS_IOC_FIEMAP maps a file of the overlay as it maps the one it stands for (Documentation/filesystems/fiemap.rst; fs/overlayfs/inode.c, ovl_fiemap).",
		Run: func(t *suites.T) {
			o := newOverlay(t, allOn("ext4", ""), lower(file("a", long(100_000)), file("b", long(50_000))))
			o.do("sync the disk", withFd(unix.O_RDONLY, unix.Syncfs)(o.dir))
			o.chmod("a", 0o600)
			for at, real := range map[string]string{o.at("a"): o.inUpper("a"), o.at("b"): o.inLower("b")} {
				got, err := extentsOf(at)
				o.do("map", err)
				want, err := extentsOf(real)
				o.do("map in the layer", err)
				if len(got) == 0 || !slices.Equal(got, want) {
					t.Errorf("%s is mapped %v, in its layer %v", at, got, want)
				}
			}
		},
	},
	{
		Name: "block-holes",
		Doc:  "The holes of a lower file stay holes when it is copied up, but for what is left of a piece of 1 MiB with data in it (fs/overlayfs/copy_up.c since 5.5, ovl_copy_up_file and OVL_COPY_UP_CHUNK_SIZE).",
		Run: func(t *suites.T) {
			const at, size, piece = 2<<20 + 5000, 4 << 20, 1 << 20
			o := layers(t, allOn("ext4", ""), lower(file("a", "")))
			o.do("make holes", withFd(unix.O_WRONLY, func(fd int) error {
				_, err := unix.Pwrite(fd, []byte("middle"), at)
				return errors.Join(err, unix.Ftruncate(fd, size), unix.Fsync(fd))
			})(o.inLower("a")))
			o.do("set the times", setTimes(o.inLower("a"), stamp))
			o.remember()
			o.do("mount the overlay", o.mount())
			o.chmod("a", 0o600)
			var st unix.Stat_t
			o.do("stat", unix.Stat(o.inUpper("a"), &st))
			if st.Blocks*512 > piece {
				t.Errorf("the upper file takes %d bytes of the disk, want at most %d", st.Blocks*512, piece)
			}
			b, err := os.ReadFile(o.at("a"))
			o.do("read", err)
			if len(b) != size || string(b[at:at+6]) != "middle" {
				t.Errorf("read %d bytes, and %q in the middle", len(b), b[at:at+6])
			}
		},
	},
	{
		Name: "block-swap",
		Doc:  "A file of the overlay is no swap file: EINVAL, for it has no blocks of its own (swapon(2); fs/overlayfs/file.c, ovl_aops).",
		Run: func(t *suites.T) {
			o := newOverlay(t, allOn("ext4", ""), lower(file("a", long(64<<10))), upper(file("b", long(64<<10))))
			for _, name := range []string{"a", "b"} {
				path, err := unix.BytePtrFromString(o.at(name))
				o.do("name the file", err)
				_, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), 0, 0)
				if errno == unix.ENOSYS {
					t.Skip("this kernel has no swap")
				}
				o.refused("swap on "+name, errno, unix.EINVAL)
			}
			o.shows(file("a", long(64<<10)), file("b", long(64<<10)))
		},
	},
	{
		Name: "block-loop",
		Doc:  "An image in the lower layer is copied up to be mounted by a loop device, and what is written to it is there after a mount cycle (loop(4)).",
		Run: func(t *suites.T) {
			image := t.Disk("ext4")
			o := newOverlay(t, func(o *overlay) {
				o.do("make a layer", os.Mkdir(o.dir+"/lower", 0o755))
				o.do("copy an image to the lower layer", copySparse(o.dir+"/lower/image", image))
				o.lowers = append(o.lowers, o.dir+"/lower")
			})
			inside := t.Dir() + "/inside"
			mount := func() *loop {
				d := attach(t, o.at("image"))
				mountDevice(t, d.path, "ext4", inside, 0, "")
				return d
			}
			d := mount()
			o.do("write inside", os.WriteFile(inside+"/a", []byte("deep"), 0o644))
			o.do("unmount the image", unix.Unmount(inside, 0))
			d.detach()
			o.remount()
			d = mount()
			if b, err := os.ReadFile(inside + "/a"); err != nil || string(b) != "deep" {
				t.Errorf("the file inside reads %q (%v), want deep", b, err)
			}
			o.do("unmount the image", unix.Unmount(inside, 0))
			d.detach()
		},
	},
})

// aligned is memory that can be read and written to past the page cache: it
// begins at a multiple of its size.
func aligned(size int) []byte {
	b := make([]byte, 2*size)
	skip := size - int(uintptr(unsafe.Pointer(&b[0]))%uintptr(size))
	return b[skip : skip+size]
}
