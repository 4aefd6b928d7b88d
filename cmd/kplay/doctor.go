package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/images/disk"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/all"
)

// Space a run needs: memory for one guest and QEMU itself, disk for an unpacked
// kernel package.
const (
	needMemory = 1 << 30
	needDisk   = 2 << 30
)

// A finding is one thing the doctor looked at.
type finding struct {
	name, state string
	mend        string // what to do about it; empty if it is well
}

func newDoctor() *cobra.Command {
	return &cobra.Command{
		Use: "doctor [KERNEL]", Short: "Say whether this machine can run kernels, and what to do if not", Args: between(0, 1),
		Long: "Look at QEMU, the accelerator, memory and disk. The accelerator is proved by booting\nKERNEL, or the kernel kplay run would take.",
		RunE: func(c *cobra.Command, args []string) error {
			return examine(c.Context(), c.OutOrStdout(), strings.Join(args, ""))
		},
	}
}

func examine(ctx context.Context, w io.Writer, ref string) error {
	sick := 0
	look := func(f finding) bool {
		fmt.Fprintf(w, "%-12s %s\n", f.name, f.state)
		if f.mend != "" {
			sick++
			fmt.Fprintf(w, "%-12s   to mend it: %s\n", "", f.mend)
		}
		return f.mend == ""
	}
	qemu := look(qemuFinding())
	look(memoryFinding())
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	look(diskFinding(cache))
	look(imageFinding())
	b, f := kernelFinding(ctx, ref, cache)
	if look(f) && qemu {
		look(accelFinding(ctx, b, cache))
	}
	if sick > 0 {
		return fmt.Errorf("%d things keep kernels from being tested here", sick)
	}
	return nil
}

func qemuFinding() finding {
	path, err := vm.Find()
	if err != nil {
		return finding{"QEMU", "missing", installCommand()}
	}
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return finding{"QEMU", fmt.Sprintf("%s does not start: %v", path, err), installCommand()}
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return finding{name: "QEMU", state: line + ", " + path}
}

// imageFinding says which programs that make file systems are not there. Without
// them cases are skipped, and the others run.
func imageFinding() finding {
	f := finding{name: "images", state: "the file systems that cases work on can be made"}
	for _, s := range all.Suites() {
		if err := disk.Missing(s.Disks); err != nil {
			f.state = "some cases are skipped: " + err.Error()
		}
	}
	return f
}

func installCommand() string {
	if _, err := exec.LookPath("dnf"); err == nil {
		return "sudo dnf install -y qemu-system-x86-core"
	}
	return "sudo apt-get install -y --no-install-recommends qemu-system-x86"
}

func memoryFinding() finding {
	b, _ := os.ReadFile("/proc/meminfo")
	var kib uint64
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			fmt.Sscanf(rest, "%d", &kib)
		}
	}
	f := finding{name: "memory", state: fmt.Sprintf("%.1f GiB available", float64(kib)/(1<<20))}
	if kib<<10 < needMemory {
		f.mend = "end other programs, or give the guest less: --memory 256"
	}
	return f
}

func diskFinding(cache string) finding {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return finding{"disk", err.Error(), "make " + cache + " writable, or set XDG_CACHE_HOME"}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(cache, &st); err != nil {
		return finding{"disk", err.Error(), "make " + cache + " readable, or set XDG_CACHE_HOME"}
	}
	free := st.Bavail * uint64(st.Bsize)
	f := finding{name: "disk", state: fmt.Sprintf("%.1f GiB free in %s", float64(free)/(1<<30), cache)}
	if free < needDisk {
		f.mend = "free some space, or set XDG_CACHE_HOME to a larger disk"
	}
	return f
}

func kernelFinding(ctx context.Context, ref, cache string) (*kernel.Build, finding) {
	b, err := kernel.Open(ctx, ref, kernel.Options{Cache: cache})
	if err != nil {
		return nil, finding{"kernel", err.Error(), "name a kernel: kplay doctor KERNEL"}
	}
	return b, finding{name: "kernel", state: b.Release + ", " + b.Image}
}

// accelFinding boots the kernel to a case that does nothing.
func accelFinding(ctx context.Context, b *kernel.Build, cache string) finding {
	if usable, why := harness.KVMUsable(); !usable && strings.Contains(why, "permission denied") {
		return finding{"accelerator", "tcg: " + why, "sudo usermod -aG kvm " + os.Getenv("USER") + ", then log in again"}
	}
	suite, c, _ := suites.Find(all.Suites(), "selftest/pass")
	suite.Cases = []suites.Case{c}
	run, err := harness.Execute(ctx, harness.Plan{Build: b, Suites: []suites.Suite{suite}, Cache: cache})
	if err != nil {
		return finding{"accelerator", "no boot: " + err.Error(), "try another kernel: kplay doctor KERNEL"}
	}
	return finding{name: "accelerator", state: run.Machine.Accel + ": " + run.Machine.AccelReason}
}
