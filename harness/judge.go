package harness

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/kernel-playground/kplay/harness/crash"
	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/suites"
)

// taintLetters are the kernel's letters for the bits of
// /proc/sys/kernel/tainted, lowest first
// (Documentation/admin-guide/tainted-kernels.rst).
const taintLetters = "PFSRMBUDAWCIOELKXTNJ"

// verdictOf judges a case that came to its end on a machine that lives on.
// records are what the kernel said meanwhile, taint the bits it newly set.
// Whatever the case itself says, a kernel that complained has not passed.
func verdictOf(finish event.Event, records []crash.Record, taint uint64) (results.Verdict, string) {
	if w := crash.Worst(records); w != nil && w.Damaging() {
		return results.Crash, w.Summary()
	} else if w != nil {
		return results.Fail, "the kernel complained: " + w.Summary()
	}
	if taint != 0 {
		return results.Fail, "the kernel was newly tainted: " + letters(taint)
	}
	switch suites.Status(finish.Status) {
	case suites.Pass:
		return results.Pass, ""
	case suites.Fail:
		return results.Fail, finish.Reason
	case suites.Skip:
		return results.Skip, finish.Reason
	}
	return results.Error, finish.Reason
}

// letters writes taint bits as the kernel does in its reports.
func letters(taint uint64) string {
	var s strings.Builder
	for ; taint != 0; taint &= taint - 1 {
		if bit := bits.TrailingZeros64(taint); bit < len(taintLetters) {
			s.WriteByte(taintLetters[bit])
		} else {
			fmt.Fprintf(&s, "(bit %d)", bit)
		}
	}
	return s.String()
}

// verdictOfDead judges a case during which the machine ended. Only a machine
// that is gone makes the text of a panic believable; QEMU's exit status says
// nothing about it.
func verdictOfDead(console []byte, kmsg []crash.Record, cause string) (results.Verdict, string, []crash.Record) {
	records := crash.Scan(console)
	if w := crash.Worst(records); w != nil && w.Fatal {
		return results.Crash, w.Summary(), records
	}
	if w := crash.Worst(kmsg); w != nil && w.Damaging() {
		return results.Crash, w.Summary(), kmsg
	}
	reason := "the machine ended without a word from the kernel"
	if cause != "" {
		reason += " (" + cause + ")"
	}
	return results.Error, reason, nil
}

// pin notes in records which case they came up in, and which features they point
// to. They were read from what the kernel said during that case alone, so that
// the first of them is what broke, and the others may follow from it.
func pin(records []crash.Record, name string) {
	features, err := Traces()
	for i := range records {
		records[i].Case = name
		if err == nil {
			records[i].Attribution = crash.Attribute(records[i], features, nil)
		}
	}
}
