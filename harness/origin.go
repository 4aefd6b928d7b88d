package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/results"
)

// newRun says what is known of a run before its first boot.
func (p Plan) newRun() *results.Run {
	b := p.Build
	return &results.Run{
		State:    results.Running,
		Upstream: p.Upstream,
		Build: results.Build{
			NVR: b.NVR, Release: b.Release, Digest: b.Digest, Source: b.Source, Modules: digests(p.Replace),
		},
		Host: host(p.Version),
		Args: p.Args,
	}
}

func host(version string) results.Host {
	name, _ := os.Hostname()
	return results.Host{Name: name, Kernel: hostKernel(), CPU: hostCPU(), CPUs: runtime.NumCPU(), Kplay: version}
}

func hostKernel() string {
	var u unix.Utsname
	unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}

func hostCPU() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(value, "\t :"))
		}
	}
	return runtime.GOARCH
}

// digests maps the names of replaced modules to the SHA-256 of their files.
// A file that cannot be read has been refused before.
func digests(replace map[string]string) map[string]string {
	if len(replace) == 0 {
		return nil
	}
	sums := make(map[string]string)
	for name, path := range replace {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		h := sha256.New()
		io.Copy(h, f)
		f.Close()
		sums[name] = hex.EncodeToString(h.Sum(nil))
	}
	return sums
}
