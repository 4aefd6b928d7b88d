package overlayfs

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// coherenceCases look at one file in several ways at once: by descriptors,
// mappings, programs that run, and what is written to the layers.
var coherenceCases = []suites.Case{
	{
		Name: "coherence-append-by-two",
		Doc:  "Two descriptors with O_APPEND write one after the other, whichever was opened first (open(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			one, two := o.open("a", unix.O_WRONLY|unix.O_APPEND), o.open("a", unix.O_WRONLY|unix.O_APPEND)
			o.do("append", errors.Join(writeAll(one, "1"), writeAll(two, "2"), writeAll(one, "3")))
			o.do("close", errors.Join(unix.Close(one), unix.Close(two)))
			o.shows(file("a", "lower123"))
		},
	},
	{
		Name: "coherence-append-flag-taken-back",
		Doc:  "A descriptor appends while F_SETFL has O_APPEND set, and writes where it is when that is cleared (fcntl(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			fd := o.open("a", unix.O_WRONLY)
			o.do("append", appendBySetfl(fd))
			_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0)
			o.do("clear O_APPEND", err)
			o.seek(fd, 0)
			o.do("write", errors.Join(writeAll(fd, "L"), unix.Close(fd)))
			o.shows(file("a", "Lower+more"))
		},
	},
	{
		Name: "coherence-size-by-other-descriptor",
		Doc:  "A descriptor seeks to the end another one has just written (lseek(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			one, two := o.open("a", unix.O_RDWR), o.open("a", unix.O_RDWR)
			defer unix.Close(one)
			defer unix.Close(two)
			_, err := unix.Pwrite(one, []byte("end"), 100)
			o.do("write", err)
			if end, err := unix.Seek(two, 0, io.SeekEnd); err != nil || end != 103 {
				t.Errorf("the other descriptor's end is %d (%v), want 103", end, err)
			}
		},
	},
	{
		Name: "coherence-shared-mapping-and-read",
		Doc:  "A store to a shared mapping is read by read(2), and a write is seen in the mapping (mmap(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			fd := o.open("a", unix.O_RDWR)
			m, err := unix.Mmap(fd, 0, 5, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			o.do("map", err)
			m[0] = 'L'
			if got := readFd(fd); got != "Lower" {
				t.Errorf("read(2) gives %q, want Lower", got)
			}
			_, err = unix.Pwrite(fd, []byte("R"), 4)
			o.do("write", err)
			if string(m) != "LoweR" {
				t.Errorf("the mapping holds %q, want LoweR", m)
			}
			o.do("unmap", errors.Join(unix.Munmap(m), unix.Close(fd)))
			o.shows(file("a", "LoweR"))
		},
	},
	{
		Name: "coherence-two-shared-mappings",
		Doc:  "What is stored by one shared mapping is seen by another of another descriptor (mmap(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			one, two := o.open("a", unix.O_RDWR), o.open("a", unix.O_RDONLY)
			const prot = unix.PROT_READ | unix.PROT_WRITE
			m, err := unix.Mmap(one, 0, 5, prot, unix.MAP_SHARED)
			o.do("map for writing", err)
			n, err := unix.Mmap(two, 0, 5, unix.PROT_READ, unix.MAP_SHARED)
			o.do("map for reading", err)
			m[1] = 'O'
			if string(n) != "lOwer" {
				t.Errorf("the other mapping holds %q, want lOwer", n)
			}
			o.do("unmap", errors.Join(unix.Munmap(m), unix.Munmap(n), unix.Close(one), unix.Close(two)))
			o.shows(file("a", "lOwer"))
		},
	},
	{
		Name: "coherence-private-mapping-stays",
		Doc:  "What was stored to a private mapping of a lower file is neither lost nor seen when that is copied up (mmap(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			fd := o.open("a", unix.O_RDONLY)
			m, err := unix.Mmap(fd, 0, 5, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
			o.do("map", err)
			m[0] = 'P'
			o.write("a", "above")
			if m[0] != 'P' {
				t.Errorf("the mapping begins with %q, want P", m[0])
			}
			o.do("unmap", errors.Join(unix.Munmap(m), unix.Close(fd)))
			o.shows(file("a", "above"))
		},
	},
	{
		Name: "coherence-running-program",
		Doc:  "A program of the lower layer runs, copied up or not, and a program that runs is not opened for writing: ETXTBSY, or it goes on as it was (execve(2); overlayfs.rst, non-standard behavior).",
		Run:  runningProgram,
	},
	{
		Name: "coherence-lower-atime",
		Doc:  "Reading a lower file does not change its access time there (overlayfs.rst, non-standard behavior).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), dir("d", file("b", ""))))
			_, err := os.ReadFile(o.at("a"))
			o.do("read", err)
			_, err = os.ReadDir(o.at("d"))
			o.do("list", err)
			for _, name := range []string{"a", "d"} {
				var st unix.Stat_t
				o.do("stat in the lower layer", unix.Lstat(o.inLower(name), &st))
				if got := time.Unix(st.Atim.Unix()); name == "a" && !got.Equal(stamp) {
					t.Errorf("the access time of %s in the lower layer is %v, was %v", name, got.UTC(), stamp.UTC())
				}
			}
			o.upperHolds()
		},
	},
	{
		Name: "coherence-times-after-write",
		Doc:  "A write sets the times of change, as stat(2) says at once by name and by descriptor (write(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			fd := o.open("a", unix.O_RDWR)
			defer unix.Close(fd)
			o.do("write", writeAll(fd, "L"))
			var st unix.Stat_t
			o.do("fstat", unix.Fstat(fd, &st))
			if got := o.stat("a"); got.Mtim != st.Mtim || got.Ctim != st.Ctim || !time.Unix(got.Mtim.Unix()).After(stamp) {
				t.Errorf("mtime is %v by name and %v by descriptor, both want to be later than %v", got.Mtim, st.Mtim, stamp.UTC())
			}
		},
	},
	{
		Name: "coherence-hole-after-copy-up",
		Doc:  "A hole at the start of a file stays one when it is copied up (lseek(2), SEEK_DATA; fs/overlayfs/copy_up.c, ovl_copy_up_data; since 5.1).",
		Run:  holesStay,
	},
	{
		Name: "coherence-direct",
		Doc:  "O_DIRECT is refused where the file system below has none, or reads and writes (open(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", strings.Repeat("l", 4096))))
			below := opened(unix.O_RDONLY | unix.O_DIRECT)(o.inLower("a"))
			err := opened(unix.O_RDONLY | unix.O_DIRECT)(o.at("a"))
			if (below == nil) != (err == nil) {
				t.Errorf("open with O_DIRECT: %v, in the lower layer %v", outcome(err), outcome(below))
			}
			o.shows(file("a", strings.Repeat("l", 4096)))
		},
	},
	{
		Name: "coherence-copy-between-layers",
		Doc:  "copy_file_range(2) copies from a lower file to an upper one, and copies no source up (copy_file_range(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", long(9000))), upper(file("u", "")))
			from, to := o.open("a", unix.O_RDONLY), o.open("u", unix.O_WRONLY)
			n, err := unix.CopyFileRange(from, nil, to, nil, 9000, 0)
			o.do("copy", errors.Join(err, unix.Close(from), unix.Close(to)))
			o.shows(file("a", long(9000)), file("u", long(9000)[:n]))
			o.upperHolds(file("u", long(9000)[:n]))
			if n == 0 {
				t.Error("nothing was copied")
			}
		},
	},
	{
		Name: "coherence-sync-and-freeze",
		Doc:  "syncfs(2) of the overlay succeeds with changes in the upper layer, and FIFREEZE of the overlay itself is EOPNOTSUPP (ioctl_fs(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.write("a", "changed")
			fd := o.open(".", unix.O_RDONLY)
			defer unix.Close(fd)
			o.do("syncfs", unix.Syncfs(fd))
			const fifreeze = 0xc0045877
			_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fifreeze, 0)
			o.refused("freeze", errnoOr(e), unix.EOPNOTSUPP)
		},
	},
}

// waiting is the smallest program that waits for a signal: an ELF header, one
// segment, and pause(2) in a loop, for x86-64 (elf(5)).
func waiting() []byte {
	code := []byte{0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7} // 1: mov $34, %eax; syscall; jmp 1b
	const base, header, segment = 0x400000, 64, 56
	const size = header + segment + 9
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = binary.LittleEndian.AppendUint16(b, 2)  // ET_EXEC
	b = binary.LittleEndian.AppendUint16(b, 62) // EM_X86_64
	b = binary.LittleEndian.AppendUint32(b, 1)
	for _, v := range []uint64{base + header + segment, header, 0} { // e_entry, e_phoff, e_shoff
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, 0)
	for _, v := range []uint16{header, segment, 1, 0, 0, 0} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, 1)                      // PT_LOAD
	b = binary.LittleEndian.AppendUint32(b, 5)                      // PF_R|PF_X
	for _, v := range []uint64{0, base, base, size, size, 0x1000} { // p_offset to p_align
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return append(b, code...)
}

// runningProgram opens a program for writing while it runs.
func runningProgram(t *suites.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the program is for x86-64")
	}
	o := layers(t, lower(dir("d")))
	o.do("make the program", os.WriteFile(o.inLower("a"), waiting(), 0o755))
	o.remember()
	o.do("mount", o.mount())
	start := func() *exec.Cmd {
		cmd := exec.Command(o.at("a"))
		o.do("start the program", cmd.Start())
		return cmd
	}
	cmd := start()
	err := opened(unix.O_WRONLY)(o.at("a"))
	if err != nil {
		o.refused("open a running program for writing", err, unix.ETXTBSY)
	}
	o.do("kill the program", cmd.Process.Kill())
	cmd.Wait()
	o.chmod("a", 0o700)
	cmd = start()
	o.refused("open a running program of the upper layer for writing", opened(unix.O_WRONLY)(o.at("a")), unix.ETXTBSY)
	o.do("kill the program", cmd.Process.Kill())
	cmd.Wait()
	o.do("open for writing when it is gone", opened(unix.O_WRONLY)(o.at("a")))
}

func holesStay(t *suites.T) {
	o := layers(t, lower(file("a", "")))
	// The hole is several of the pieces the kernel copies at once, and is skipped.
	const hole = 3 << 20
	o.do("make a hole", withFd(unix.O_WRONLY, func(fd int) error {
		_, err := unix.Pwrite(fd, []byte("data"), hole)
		return err
	})(o.inLower("a")))
	o.remember()
	o.do("mount", o.mount())
	ask := func() int64 {
		fd := o.open("a", unix.O_RDONLY)
		defer unix.Close(fd)
		at, err := unix.Seek(fd, 0, unix.SEEK_DATA)
		o.do("seek", err)
		return at
	}
	before := ask()
	o.chmod("a", 0o600)
	if after := ask(); after != before {
		t.Errorf("the data is at %d, was at %d", after, before)
	}
	var st, low unix.Stat_t
	o.do("stat in the layers", errors.Join(unix.Lstat(o.inUpper("a"), &st), unix.Lstat(o.inLower("a"), &low)))
	if st.Blocks > low.Blocks && !lacks(t, "metacopy") {
		t.Errorf("the copy has %d blocks, the original %d", st.Blocks, low.Blocks)
	}
}
