package harness

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Lean are the kernel's parameters, for a test to spoil.
var Lean = &lean

// Workers is how many clones run the plan's cases at once, were there n of them.
func (p Plan) Workers(n int) int { return min(p.withDefaults().Parallel, n) }

// A Spare is a clone that has not begun.
type Spare struct {
	s    *Session
	from *frozen
	sp   *spare
}

// Spare makes a clone up to where it can begin.
func (s *Session) Spare(ctx context.Context) (*Spare, error) {
	f, err := s.template(ctx)
	if err != nil {
		return nil, err
	}
	sp, err := f.spare(ctx)
	return &Spare{s, f, sp}, err
}

// Begin has the clone begin and waits for its first answer.
func (s *Spare) Begin(ctx context.Context) error {
	_, err := s.from.begin(ctx, s.sp, 1)
	return err
}

// End kills the clone, and tells the processor time its QEMU took.
func (s *Spare) End() time.Duration {
	s.sp.end()
	return s.sp.machine.Ending().CPU
}

// PID is the process of the clone.
func (s *Spare) PID() int { return s.sp.machine.PID() }

// PSS is a process's share of the memory it uses, in bytes (proc(5),
// smaps_rollup).
func PSS(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for i := range b {
		var kib int64
		if n, _ := fmt.Sscanf(string(b[i:min(i+40, len(b))]), "\nPss: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("process %d: no Pss", pid)
}
