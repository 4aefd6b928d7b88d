package results

// Counts is how many cases ended with each verdict.
func (r *Run) Counts() map[Verdict]int {
	counts := make(map[Verdict]int)
	for _, c := range r.Cases {
		counts[c.Verdict]++
	}
	return counts
}

// Good reports whether the verdict is one of those nobody has to look into.
func (v Verdict) Good() bool { return v == Pass || v == Skip || v == XFail }

// Good reports whether the run was finished and no case in it went wrong.
func (r *Run) Good() bool {
	for _, c := range r.Cases {
		if !c.Verdict.Good() {
			return false
		}
	}
	return r.State == Finished && r.Failure == ""
}

// label is what to call the build: a bare image has no NVR.
func (b Build) label() string {
	if b.NVR != "" {
		return b.NVR
	}
	return b.Release
}
