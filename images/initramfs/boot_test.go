package initramfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/images/initramfs/userland"
	"github.com/kernel-playground/kplay/images/kernel"
)

// TestMain makes this program the agent of TestBoot: PID 1, or the userland.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 {
		beAgent()
	}
	if exit, ok := userland.Run(os.Args); ok {
		os.Exit(exit)
	}
	os.Exit(m.Run())
}

// verdict begins the line the agent ends with.
const verdict = "initramfs test: "

// beAgent prints what it found on the console and stops the machine.
func beAgent() {
	err := errors.Join(checkNodes(), mountProc(), checkModules(), checkCommand())
	fmt.Printf("%s%v\n", verdict, err)
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

func checkNodes() error {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(verdict + "kmsg\n")
	return err
}

// mountProc does what every agent does: the race detector's runtime looks at its
// own executable there, and complains on standard error if it cannot.
func mountProc() error { return unix.Mount("proc", "/proc", "proc", 0, "") }

// checkModules loads what the list names, in its order.
func checkModules() error {
	list, err := os.ReadFile(moduleList)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		name, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := unix.InitModule(data, ""); err != nil {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	return nil
}

func checkCommand() error {
	out, err := exec.Command("/bin/cat", "/opt/greeting").CombinedOutput()
	if err == nil && string(out) != "hello\n" {
		err = errors.New("cat printed something else")
	}
	if err != nil {
		return fmt.Errorf("run cat: %w: %q", err, out)
	}
	return nil
}

// requireEnv makes a test fail where it would skip for want of a kernel or QEMU.
const requireEnv = "KPLAY_REQUIRE"

// need skips the test if something it cannot do without is not to be had.
func need(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil && os.Getenv(requireEnv) == "" {
		t.Skipf("%s is not to be had here (%s=1 makes this an error): %v", what, requireEnv, err)
	}
	assert.NilError(t, err, what)
}

// TestBoot boots a distribution's kernel, both ways, with this program as agent:
// linked statically or, under the race detector, dynamically.
func TestBoot(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine")
	}
	qemu, err := exec.LookPath("qemu-system-x86_64")
	need(t, "QEMU", err)
	const ref = "apt:linux-image-cloud-amd64"
	b, err := kernel.Open(t.Context(), ref, kernel.Options{})
	need(t, ref, err)
	modules, missing, err := b.ResolveModules([]string{"overlay", "virtio_console"}, nil)
	assert.NilError(t, err)
	assert.Equal(t, len(missing), 0)
	img := assemble(t, Spec{
		Agent:   self(t),
		Modules: modules,
		Files:   map[string]string{"/opt/greeting": write(t, "greeting", "hello\n", 0o644)},
	})
	vmlinux, ok, err := Vmlinux(t.TempDir(), b.Image)
	assert.NilError(t, err)
	assert.Assert(t, ok, "%s has no PVH entry point", b.Image)
	for name, path := range map[string]string{"vmlinux": vmlinux, "bzImage": b.Image} {
		t.Run(name, func(t *testing.T) {
			console := boot(t, qemu, path, img)
			assert.Assert(t, strings.Contains(console, verdict+"<nil>"), console)
			assert.Assert(t, strings.Contains(console, verdict+"kmsg"), console)
		})
	}
}

// boot runs a machine until it stops and gives its console.
func boot(t *testing.T, qemu, kernel string, img *Image) string {
	t.Helper()
	initrd, err := img.File()
	assert.NilError(t, err)
	defer initrd.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	console := filepath.Join(t.TempDir(), "console")
	cmd := exec.CommandContext(ctx, qemu, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
		"-accel", "tcg", "-m", "512", "-kernel", kernel, "-initrd", "/proc/self/fd/3", "-serial", "file:"+console,
		"-append", "console=ttyS0 panic=-1 no_timer_check printk.devkmsg=on")
	cmd.ExtraFiles = []*os.File{initrd}
	var said bytes.Buffer
	cmd.Stderr = &said
	err = cmd.Run()
	text, _ := os.ReadFile(console)
	assert.NilError(t, err, "%s%s", said.String(), text)
	return string(text)
}
