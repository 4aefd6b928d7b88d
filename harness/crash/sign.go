package crash

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// signatureVersion begins every signature. It changes when the way they are made
// does, so that no two made in different ways are equal.
const signatureVersion = "1"

// signed is how many frames make a signature, and hashed how many make ABRT's.
const (
	signed = 6
	hashed = 6
)

// sign sets the signatures of a record.
//
// Signature stands for the class, the blamed function and the first reliable
// frames that are no plumbing, by their names in the source: no address, offset,
// PID, taint or release, so that it is the same on every boot and, mostly, from
// one compiler to another. Family stands for the class and the function alone,
// and can be read. ABRT is the uuid and duphash of ABRT, computed as satyr does;
// it is good for finding a report of Fedora's, not for telling whether two
// crashes are the same.
func sign(r *Record, traces []trace) {
	function := r.Func
	if r.Module != "" {
		function += "@" + r.Module
	}
	r.Family = signatureVersion + ":" + string(r.Class) + ":" + function
	text := []string{string(r.Class), function}
	text = append(text, telling(*r)...)
	if len(text) == 2 && function == "" {
		text = append(text, r.Where, constant(r.Title))
	}
	sum := sha256.Sum256([]byte(strings.Join(text, "\n")))
	r.Signature = signatureVersion + ":" + hex16(sum[:])
	r.ABRT = abrtHash(traces)
}

func hex16(sum []byte) string { return hex.EncodeToString(sum[:8]) }

// telling are the first reliable frames that are no plumbing, as "func@module".
func telling(r Record) []string {
	rule := blameRules[r.Class]
	var names []string
	for i := range r.Frames {
		f := &r.Frames[i]
		if rule.worth(f) == nil {
			continue
		}
		name := f.Name()
		if f.Module != "" {
			name += "@" + f.Module
		}
		if names = append(names, name); len(names) == signed {
			break
		}
	}
	return names
}

// constant is a text without its numbers.
func constant(s string) string {
	var b strings.Builder
	for _, word := range strings.Fields(s) {
		if strings.ContainsAny(word, digits) {
			word = "#"
		}
		b.WriteString(word + " ")
	}
	return b.String()
}

// abrtHash is the SHA-1 over the names of the first frames that are not marked
// "?", one a line, as satyr's sr_koops_stacktrace_get_duphash makes it and ABRT
// stores it. It is empty if there are no frames.
func abrtHash(traces []trace) string {
	var text strings.Builder
	n := 0
	for _, t := range traces {
		for _, f := range t.frames {
			if n == hashed || !f.Reliable || f.Inline {
				continue
			}
			text.WriteString(f.Func + "\n")
			n++
		}
	}
	if n == 0 {
		return ""
	}
	sum := sha1.Sum([]byte(text.String()))
	return hex.EncodeToString(sum[:])
}
