package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/digitalocean/go-qemu/qmp"
)

// Oldest is the oldest QEMU whose templates are known to work.
var Oldest = [2]int{7, 2}

// connect opens QEMU's control channel and follows its events.
func (m *Machine) connect(path string) error {
	monitor, err := qmp.NewSocketMonitor("unix", path, 5*time.Second)
	if err != nil {
		return fmt.Errorf("open the control channel: %w", err)
	}
	if err := monitor.Connect(); err != nil {
		monitor.Disconnect()
		return fmt.Errorf("greet QEMU on the control channel: %w", err)
	}
	m.Running = time.Now()
	v := monitor.Version.QEMU
	m.Version = fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro)
	events, err := monitor.Events(context.Background())
	if err != nil {
		return fmt.Errorf("listen to QEMU's events: %w", err)
	}
	m.monitor, m.heard = monitor, make(chan struct{})
	go func() {
		defer close(m.heard)
		for e := range events {
			m.note(e)
		}
	}()
	return recent(v.Major, v.Minor)
}

// recent refuses a QEMU that is too old.
func recent(major, minor int) error {
	if major < Oldest[0] || major == Oldest[0] && minor < Oldest[1] {
		return fmt.Errorf("QEMU %d.%d is too old: install %d.%d or newer", major, minor, Oldest[0], Oldest[1])
	}
	return nil
}

// lastWords is how long the events of a QEMU that has ended may take to be read.
const lastWords = 200 * time.Millisecond

// hangUp waits until the last event of a QEMU that has ended was noted. Where
// QEMU died with a part of a command unread, the connection is reset: go-qemu
// passes that on to whoever waits for an answer, and while nobody does it goes no
// further, until it is told to disconnect.
func (m *Machine) hangUp() {
	if m.monitor == nil {
		return
	}
	select {
	case <-m.heard:
	case <-time.After(lastWords):
		m.monitor.Disconnect()
		<-m.heard
	}
}

// note keeps what QEMU's events say (QEMU QMP reference). A machine that stops
// without having been told to is one KVM could not go on with.
func (m *Machine) note(e qmp.Event) {
	switch e.Event {
	case "SHUTDOWN":
		m.setCause(fmt.Sprint(e.Data["reason"]))
	case "MIGRATION":
		if s := fmt.Sprint(e.Data["status"]); s == "completed" || s == "failed" {
			m.moved <- s
		}
	case "WATCHDOG":
		m.starved.Store(true)
	case "GUEST_PANICKED":
		m.halting.Store(true)
		select {
		case m.panicked <- struct{}{}:
		default:
		}
	case "STOP":
		if !m.halting.Load() {
			m.setCause("internal-error")
			m.Kill()
		}
	}
}

func (m *Machine) setCause(cause string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ending.Cause == "" {
		m.ending.Cause = cause
	}
}

// command has QEMU do something, handing it a file if there is one, and decodes
// what it returns into result, unless that is nil.
func (m *Machine) command(name string, args any, file *os.File, result any) error {
	line, err := json.Marshal(qmp.Command{Execute: name, Args: args})
	if err != nil {
		return fmt.Errorf("QMP %s: %w", name, err)
	}
	answer, err := m.monitor.RunWithFile(line, file)
	if err != nil {
		return fmt.Errorf("QMP %s: %w", name, err)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(answer, &struct{ Return any }{result}); err != nil {
		return fmt.Errorf("QMP %s: %w", name, err)
	}
	return nil
}

// NMI sends every processor of the guest a non-maskable interrupt, which makes
// a kernel that no longer listens to anything else say where it is, if it was
// told to panic on one.
func (m *Machine) NMI() error { return m.command("inject-nmi", nil, nil, nil) }

// Panicked is sent to when a dumpable machine's kernel says by pvpanic that it
// has panicked. The machine then stands still.
func (m *Machine) Panicked() <-chan struct{} { return m.panicked }

// Starved reports whether the guest has left its watchdog without food. What it
// does afterwards it does because of the NMI.
func (m *Machine) Starved() bool { return m.starved.Load() }

// Dump writes the guest's memory to path, as a kdump file in makedumpfile's
// flattened form, compressed by zlib, which crash(8) opens. The machine stands still meanwhile.
func (m *Machine) Dump(path string) error {
	m.halting.Store(true)
	return m.command("dump-guest-memory", map[string]any{"paging": false, "protocol": "file:" + path, "format": "kdump-zlib"}, nil, nil)
}
