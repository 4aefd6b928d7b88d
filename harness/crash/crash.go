// Package crash reads kernel logs: it finds every panic, oops, warning and stall
// in one, says what each is about and where it happened, tells whether two are
// the same, and which carried feature one points to.
//
// All of it is pure functions over bytes. It goes in steps, each a file:
// prefixes are taken off (Normalise), lines that begin a report are known by a
// table (openings), the lines after one are gathered and read (report), a
// function is blamed by rules that differ from class to class (blame), and the
// Record is signed (sign). It reads x86 logs of Linux 3.x to 6.x; of other
// machines it reads what is alike. Whether a text is the kernel's own is for the
// caller to know, since user space can print anything to the same console.
package crash

import (
	"encoding/json"
	"strings"
)

// A Record is one kernel complaint. A panic brought on by an oops or another
// complaint is one record together with it, of the class of the complaint.
type Record struct {
	Class    Class    `json:"class"`
	Severity Severity `json:"severity,omitempty"`
	Title    string   `json:"title"`              // the kernel's words, one line: "kernel BUG at fs/overlayfs/copy_up.c:123!"
	Func     string   `json:"function,omitempty"` // the one to blame: where it happened, or who called what only carries reports
	Module   string   `json:"module,omitempty"`   // of Func; empty for the kernel proper
	Where    string   `json:"where,omitempty"`    // "fs/overlayfs/copy_up.c:123", if the kernel said so
	Frames   []Frame  `json:"frames"`             // the call trace that tells most, innermost first

	Locks []Frame `json:"locks,omitempty"` // where the locks of a lockdep report were taken

	Release  string   `json:"release,omitempty"`
	Tainted  string   `json:"taint,omitempty"`        // taint letters in force before, "GOE"; empty if none or not said
	Taints   string   `json:"taint_caused,omitempty"` // taint letters it sets itself
	Modules  []string `json:"modules,omitempty"`      // linked in; no evidence of anything
	Comm     string   `json:"comm,omitempty"`         // the current task's name; of a hung task, its own
	PID      int      `json:"pid,omitempty"`
	CPU      int      `json:"cpu"` // -1 if not said
	Hardware string   `json:"hardware,omitempty"`
	Count    int      `json:"oops_count,omitempty"` // N of "[#N]"
	Stamp    string   `json:"uptime,omitempty"`     // seconds since boot, as printed

	First     bool   `json:"first"`                      // the first record of its boot; later ones may follow from it
	Corrupted bool   `json:"corrupted"`                  // something is missing or mixed in
	Reason    string `json:"corrupted_reason,omitempty"` // what
	Fatal     bool   `json:"panicked"`                   // the machine stopped
	Panic     string `json:"panic,omitempty"`            // why, in the kernel's words: "Fatal exception"

	Signature string `json:"signature,omitempty"` // equal for the same crash; see sign
	Family    string `json:"family,omitempty"`    // equal for the same class of crash in the same function
	ABRT      string `json:"abrt_uuid,omitempty"` // what ABRT would call uuid and duphash

	// Of the run it was found in; the package leaves them empty.
	Case        string        `json:"case,omitempty"`
	Attribution []Attribution `json:"attribution,omitempty"`

	Raw   string `json:"raw,omitempty"` // the lines it was read from, at most MaxRaw bytes
	Start int64  `json:"start"`         // of these lines in the log, bytes
	End   int64  `json:"end,omitempty"` // behind them; others may stand between
}

// UnmarshalJSON also reads what was stored when fields had other names.
func (r *Record) UnmarshalJSON(data []byte) error {
	type plain Record
	v := struct {
		*plain
		Func    *string `json:"func"`
		Tainted *string `json:"tainted"`
		Fatal   *bool   `json:"fatal"`
	}{plain: (*plain)(r)}
	r.CPU = -1
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	if v.Func != nil {
		r.Func = *v.Func
	}
	if v.Tainted != nil {
		r.Tainted = *v.Tainted
	}
	if v.Fatal != nil {
		r.Fatal = *v.Fatal
	}
	return nil
}

// UnmarshalJSON also reads what was stored when fields had other names.
func (f *Frame) UnmarshalJSON(data []byte) error {
	type plain Frame
	v := struct {
		*plain
		Func *string `json:"func"`
		Off  *uint64 `json:"off"`
	}{plain: (*plain)(f)}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	if v.Func != nil {
		f.Func = *v.Func
	}
	if v.Off != nil {
		f.Off = *v.Off
	}
	return nil
}

// Damaging reports whether a case during which r was written has crashed the
// kernel. Other records only make it fail.
func (r Record) Damaging() bool { return r.Fatal || damaging[r.Class] }

// Complains reports whether r says that something is wrong with the kernel. An
// OOM kill does not: the kernel did what it is for.
func (r Record) Complains() bool { return r.Fatal || r.Class != OOMKill }

func (r Record) severity() Severity {
	switch {
	case r.Fatal:
		return SeverityFatal
	case r.Damaging():
		return SeverityDamaging
	case !r.Complains():
		return SeverityNotice
	}
	return SeverityContinues
}

// Summary is what happened and where, in one line:
// "Kernel panic: sysrq triggered crash, in ovl_copy_up [overlay]".
func (r Record) Summary() string {
	s := r.Title
	if reason, ok := strings.CutPrefix(s, panicLine); ok {
		s = "Kernel panic" + reason
	}
	s = strings.TrimRight(s, ".")
	if r.Func != "" && !strings.Contains(s, r.Func) {
		s += ", in " + r.Func
		if r.Module != "" {
			s += " [" + r.Module + "]"
		}
	}
	if r.Fatal && !strings.HasPrefix(r.Title, panicLine) && r.Class != Reboot {
		s += "; the kernel panicked"
	}
	return s
}

// Worst returns the gravest record: one the kernel died of, else the first
// damaging one, else the first that complains. It returns nil if there is none.
func Worst(records []Record) *Record {
	var worst *Record
	for i := range records {
		if r := &records[i]; r.Complains() && (worst == nil || r.gravity() > worst.gravity()) {
			worst = r
		}
	}
	return worst
}

func (r Record) gravity() int {
	switch {
	case r.Fatal:
		return 3
	case r.Damaging():
		return 2
	case r.Complains():
		return 1
	}
	return 0
}
