package harness

import (
	"time"

	"github.com/kernel-playground/kplay/results"
)

// phases splits the boot's wall time. What happens in the guest is told by the
// guest's clock, which under emulation keeps its own pace: those stretches are
// scaled to fit between what the host saw.
func (l *link) phases() []results.Phase {
	ps := []results.Phase{{Name: "QEMU start", Wall: l.machine.Running.Sub(l.machine.Started)}}
	seen := l.knocked.Sub(l.machine.Running)
	marks := l.hello.Marks
	if len(marks) == 0 {
		return append(ps, results.Phase{Name: "firmware to agent", Wall: seen})
	}
	inGuest := time.Duration(marks[len(marks)-1].NS) - (l.greeted.Sub(l.knocked))
	scale := 1.0
	if firmware := seen - inGuest; firmware > 0 {
		ps = append(ps, results.Phase{Name: "firmware", Wall: firmware})
	} else {
		scale = float64(seen) / float64(inGuest)
	}
	var before int64
	for _, m := range marks[:len(marks)-1] {
		ps = append(ps, results.Phase{Name: m.Name, Wall: time.Duration(float64(m.NS-before) * scale)})
		before = m.NS
	}
	return append(ps, results.Phase{Name: "agent", Wall: l.greeted.Sub(l.knocked)})
}
