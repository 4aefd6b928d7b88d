package guest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ModuleList is the file in the initramfs that lists the modules the line to the
// host needs, one "name path" a line, dependencies first.
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
		data, err := os.ReadFile(path)
		report[name] = fate(name, err, data)
		// The pages are the initramfs's own: free them.
		os.Remove(path)
	}
	return report
}

// fate loads a module that was read, and says what became of it.
func fate(name string, err error, data []byte) string {
	if err == nil {
		err = unix.InitModule(data, "")
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Sprintf("load module %s: %v", name, err)
	}
	return loaded
}
