package crash

import (
	"bytes"
	"path"
	"sort"
	"strings"
)

// ScanFiles reads what a tool kept of a crash in a directory, by the names of
// its files: a problem directory of ABRT, /sys/fs/pstore, or what kdump left. It
// is false if no file is one of theirs.
func ScanFiles(files map[string][]byte) ([]Record, bool) {
	if log := pstoreFiles(files); log != nil {
		return Scan(log), true
	}
	for _, name := range problemFiles {
		text, ok := files[name]
		if !ok {
			continue
		}
		records := Scan(text)
		if len(records) == 0 && name == "backtrace" && files["dmesg"] != nil {
			continue
		}
		if files["kernel"] != nil || name == "backtrace" {
			complete(records, files)
		}
		return records, true
	}
	return nil, false
}

// problemFiles are the files a kernel's words are kept in, the most telling
// first: by ABRT, by kdump of Fedora, of Debian and of SUSE.
var problemFiles = []string{"backtrace", "vmcore-dmesg.txt", "dmesg.txt", "dmesg", "kernel.log"}

// WantedFile reports whether ScanFiles would look at a file of the name.
func WantedFile(name string) bool {
	for _, f := range problemFiles {
		if name == f {
			return true
		}
	}
	switch name {
	case "kernel", "uuid", "proc_modules", "tainted_short":
		return true
	}
	return isPstore(name)
}

// isPstore knows the names in /sys/fs/pstore: "dmesg-efi-169850303101001",
// "dmesg-ramoops-0", and those systemd-pstore gives.
func isPstore(name string) bool {
	return strings.HasPrefix(name, "dmesg-") && !strings.HasSuffix(name, ".enc.z") && name != "dmesg-efi"
}

// pstoreFiles puts the parts of pstore dumps one after another; Scan finds their
// order by their first lines.
func pstoreFiles(files map[string][]byte) []byte {
	var names []string
	for name := range files {
		if isPstore(name) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var log []byte
	for _, name := range names {
		log = append(log, bytes.TrimRight(files[name], "\n\x00")...)
		log = append(log, '\n')
	}
	return log
}

// complete adds what ABRT knows besides the text.
func complete(records []Record, files map[string][]byte) {
	text := func(name string) string { return bound(strings.TrimSpace(string(files[name]))) }
	for i := range records {
		r := &records[i]
		if r.Release == "" {
			r.Release = text("kernel")
		}
		if r.Tainted == "" {
			r.Tainted = strings.ReplaceAll(text("tainted_short"), " ", "")
		}
		if len(records) == 1 && files["uuid"] != nil {
			r.ABRT = text("uuid")
		}
		if len(r.Modules) == 0 {
			r.Modules = procModules(files["proc_modules"])
		}
	}
}

// procModules reads /proc/modules: a name and more, a line.
func procModules(text []byte) []string {
	var names []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && len(names) < maxModules {
			names = append(names, bound(path.Base(fields[0])))
		}
	}
	return names
}
