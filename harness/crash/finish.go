package crash

import "strings"

// finish makes the Record; false if a "cut here" had nothing after it, or what
// seemed a report turned out to be none.
func (o *report) finish() (Record, bool) {
	if o.Title == "" {
		return Record{}, false
	}
	if o.opening.proof && len(o.traces) == 0 && o.fault == nil && !o.Fatal {
		return Record{}, false
	}
	if o.note != "" && !strings.Contains(o.Title, o.note) {
		o.Title = bound(o.Title + ": " + o.note)
	}
	if stopped[o.Class] {
		o.Fatal = true
	}
	if o.pending != nil && len(o.traces) == 0 {
		o.stack = ""
		o.begin()
	}
	o.Frames = []Frame{}
	if c := placeClasses[sourceFile(o.Where)]; c != "" && (o.Class == Warning || o.Class == Bug) {
		o.Class = c
	}
	o.blame()
	for i := range o.sites {
		o.Locks = append(o.Locks, o.sites[i].frame)
	}
	o.corruption()
	o.Severity = o.severity()
	o.Taints = taints[o.Class]
	o.Raw = strings.ToValidUTF8(o.raw.String(), "\uFFFD")
	sign(&o.Record, o.traces)
	return o.Record, true
}

// placeClasses tell a class by the file that warned, if the words before are
// lost.
var placeClasses = map[string]Class{"lib/refcount.c": Refcount, "lib/list_debug.c": ListCorruption}

func sourceFile(place string) string {
	file, _, _ := strings.Cut(place, ":")
	return file
}

// traceless are the classes whose reports need no call trace.
var traceless = map[Class]bool{Reboot: true, Silence: true, MachineCheck: true, OOMKill: true, KCSAN: true, Leak: true}

// corruption says what is wrong with the text of the report.
func (o *report) corruption() {
	switch {
	case o.dropped:
		o.Reason = "the kernel dropped messages in the midst of it"
	case o.mixed && len(o.Frames) == 0:
		o.Reason = "another report broke into it"
	case len(o.Frames) == 0 && o.fault == nil && !traceless[o.Class] && o.Class != Other && o.Class != BadPage:
		o.Reason = "it has no call trace"
	case len(o.Frames) > 0 && !hasReliable(o.Frames):
		o.Reason = "no frame of its call trace is reliable"
	}
	o.Corrupted = o.Reason != ""
}

func hasReliable(frames []Frame) bool {
	for _, f := range frames {
		if f.Reliable {
			return true
		}
	}
	return false
}
