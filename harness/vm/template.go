package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Template is a frozen machine: the file with its memory and the state of its
// processors and devices, some 400 KB. Any number of clones can be started from
// it, at once too; none of them changes it.
type Template struct {
	Spec  Spec   // the machine's shape, with RAM; what only a boot needs is not looked at
	State []byte // as QEMU's migration stream
}

// stateMax bounds a template's state, in bytes. Guest memory that went into the
// stream, as it does without x-ignore-shared, would exceed it.
const stateMax = 64 << 20

// Freeze stops the machine at some point and returns its state. Its memory is
// then in the spec's RAM and changes no more, until Resume lets the machine go
// on. Should it fail the machine is of no use any more.
func (m *Machine) Freeze(ctx context.Context) (state []byte, err error) {
	stop := context.AfterFunc(ctx, m.Kill)
	defer stop()
	if state, err = m.freeze(); err != nil {
		m.Kill()
		return nil, &HostError{"freeze a machine", m.why(err)}
	}
	return state, nil
}

func (m *Machine) freeze() ([]byte, error) {
	if err := m.prepareMove(); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	err = m.command("getfd", map[string]any{"fdname": "state"}, w, nil)
	w.Close()
	if err != nil {
		return nil, err
	}
	m.halting.Store(true)
	if err := m.command("migrate", map[string]any{"uri": "fd:state"}, nil, nil); err != nil {
		return nil, err
	}
	state, err := io.ReadAll(io.LimitReader(r, stateMax+1))
	if err != nil || len(state) > stateMax {
		return nil, fmt.Errorf("read the machine's state: more than %d bytes, or %w", stateMax, err)
	}
	if err := m.waitMoved(); err != nil {
		return nil, err
	}
	return state, m.waitStatus("postmigrate")
}

// prepareMove leaves the memory out of what is migrated, for it is in a file
// already, and has QEMU tell how the migration goes. -global knows no
// x-ignore-shared, so it has to be said here.
func (m *Machine) prepareMove() error {
	on := func(name string) map[string]any { return map[string]any{"capability": name, "state": true} }
	if err := m.command("migrate-set-capabilities", map[string]any{"capabilities": []any{on("x-ignore-shared"), on("events")}}, nil, nil); err != nil {
		return err
	}
	return m.command("migrate-set-parameters", map[string]any{"max-bandwidth": 1 << 40}, nil, nil)
}

// waitMoved waits for the end of a migration.
func (m *Machine) waitMoved() error {
	select {
	case status := <-m.moved:
		if status != "completed" {
			return fmt.Errorf("the migration has %s", status)
		}
		return nil
	case <-m.done:
		return errors.New("QEMU ended")
	}
}

// waitStatus waits until QEMU has entered a run state that it is about to enter;
// there is no event for that.
func (m *Machine) waitStatus(want string) error {
	for {
		var status struct{ Status string }
		if err := m.command("query-status", nil, nil, &status); err != nil || status.Status == want {
			return err
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// Resume lets a machine go on that is frozen, or a clone that has not begun.
func (m *Machine) Resume() error {
	m.halting.Store(false)
	if err := m.command("cont", nil, nil, nil); err != nil {
		return &HostError{"start a frozen machine", m.why(err)}
	}
	return nil
}

// Clone starts a machine from the template, up to the point where Resume lets it
// go on. Its memory is its own.
func (t *Template) Clone(ctx context.Context, console io.Writer) (*Machine, error) {
	return t.start(ctx, console, "off")
}

// Thaw starts a machine that goes on in the template's own memory, so that it
// can be frozen again. The template is of no use afterwards.
func (t *Template) Thaw(ctx context.Context, console io.Writer) (*Machine, error) {
	return t.start(ctx, console, "on")
}

func (t *Template) start(ctx context.Context, console io.Writer, share string) (*Machine, error) {
	s := t.Spec
	s.Console = console
	m, err := launch(ctx, s, func(in *inheritance, e ends) []string { return s.clone(in, e, share) })
	if err != nil {
		return nil, err
	}
	if err := m.load(t.State); err != nil {
		m.Kill()
		return nil, &HostError{"clone a machine", m.why(err)}
	}
	return m, nil
}

// load gives a machine that waits for it a template's state.
func (m *Machine) load(state []byte) error {
	if err := m.prepareMove(); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	// Fewer turns. Refused, it works all the same.
	_, _ = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, len(state))
	err = m.command("getfd", map[string]any{"fdname": "state"}, r, nil)
	r.Close()
	if err != nil {
		w.Close()
		return err
	}
	written := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, bytes.NewReader(state))
		w.Close()
		written <- err
	}()
	if err := m.command("migrate-incoming", map[string]any{"uri": "fd:state"}, nil, nil); err != nil {
		return err
	}
	if err := m.waitMoved(); err != nil {
		return err
	}
	return <-written
}

// why prefers what QEMU itself said when it ended.
func (m *Machine) why(err error) error {
	select {
	case <-m.done:
		if said := m.Ending().Stderr; said != "" {
			return errors.New(firstLine(said))
		}
	case <-time.After(lastWords):
	}
	return err
}
