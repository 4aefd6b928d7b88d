package initramfs

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

func TestZZBoot(t *testing.T) {
	cache := "/tmp/iw/cache"
	img6, _, _ := Vmlinux(cache, os.Getenv("ZZIMG"))
	exe := "/tmp/iw/sz/alive"
	sizes := []int{0, 10, 20, 30, 60}
	cpu := map[int][]time.Duration{}
	imgs := map[int]*Image{}
	for _, mb := range sizes {
		b := make([]byte, mb<<20)
		rand.Read(b)
		p := fmt.Sprintf("/tmp/iw/big/%d", mb)
		os.WriteFile(p, b, 0o644)
		im, err := Assemble(context.Background(), Spec{Agent: exe, Files: map[string]string{"/pad": p}})
		if err != nil {
			t.Fatal(err)
		}
		imgs[mb] = im
	}
	for range 6 {
		rand.Shuffle(len(sizes), func(i, j int) { sizes[i], sizes[j] = sizes[j], sizes[i] })
		for _, mb := range sizes {
			f, _ := imgs[mb].File()
			ctx, c := context.WithTimeout(context.Background(), 2*time.Minute)
			cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-accel", "tcg", "-cpu", "qemu64", "-m", "512", "-kernel", img6, "-initrd", "/proc/self/fd/3", "-serial", "stdio", "-append", "console=ttyS0 quiet panic=-1 no_timer_check")
			cmd.ExtraFiles = []*os.File{f}
			out, err := cmd.Output()
			c()
			f.Close()
			if err != nil || !bytes.Contains(out, []byte("alive")) {
				t.Fatal(err, string(out))
			}
			cpu[mb] = append(cpu[mb], cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		}
	}
	slices.Sort(sizes)
	for _, mb := range sizes {
		slices.Sort(cpu[mb])
		t.Log(mb, cpu[mb][len(cpu[mb])/2], cpu[mb])
	}
}

func TestZZAssemble(t *testing.T) {
	p := os.Getenv("ZZEXE")
	for range 6 {
		b := time.Now()
		im, err := Assemble(context.Background(), Spec{Agent: p})
		if err != nil {
			t.Fatal(err)
		}
		s, _ := os.Stat(p)
		t.Log(time.Since(b), "image", im.Size(), "file", s.Size())
		im.Close()
	}
}
