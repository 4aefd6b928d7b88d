package guest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ModuleList is the file in the initramfs that lists the modules to load, one
// "name path" a line, dependencies first.
const ModuleList = "/etc/kplay/modules"

// loaded is what is reported for a module that loaded, or was there already.
const loaded = "loaded"

// loadModules loads what ModuleList lists and reports what became of each.
func loadModules() map[string]string {
	report := make(map[string]string)
	f, err := os.Open(ModuleList)
	if err != nil {
		return report
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, path, _ := strings.Cut(lines.Text(), " ")
		report[name] = loaded
		if err := loadModule(path); err != nil && !errors.Is(err, unix.EEXIST) {
			report[name] = fmt.Sprintf("load module %s: %v", name, err)
		}
		// The pages are the initramfs's own: free them.
		os.Remove(path)
	}
	return report
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if !errors.Is(err, unix.ENOSYS) { // finit_module came with 3.8, but seccomp and minimal kernels exist
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return unix.InitModule(data, "")
}
