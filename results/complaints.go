package results

import "github.com/kernel-playground/kplay/harness/crash"

// A Complaint is one crash record of the kernel, however often it came in a run.
type Complaint struct {
	Record crash.Record // as it came first
	Cases  []string     // full names of the cases during which it came, each once
	Count  int          // how often it came
}

// Complaints are the complaints of a run, each once, in the order they came in.
// Two are one if they have the same signature.
func (r *Run) Complaints() []Complaint {
	var found []Complaint
	index := make(map[string]int)
	for _, c := range r.Cases {
		for _, rec := range c.Records {
			key := signature(rec)
			i, known := index[key]
			if !known {
				i = len(found)
				index[key] = i
				found = append(found, Complaint{Record: rec})
			}
			f := &found[i]
			f.Count++
			if n := len(f.Cases); n == 0 || f.Cases[n-1] != c.FullName() {
				f.Cases = append(f.Cases, c.FullName())
			}
		}
	}
	return found
}

// signature is that of the record, or what stands for it in runs stored before
// records had one.
func signature(r crash.Record) string {
	if r.Signature != "" {
		return r.Signature
	}
	return string(r.Class) + "\n" + r.Func + "\n" + r.Module + "\n" + r.Title
}
