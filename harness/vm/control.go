package vm

import (
	"context"
	"fmt"
	"time"

	"github.com/digitalocean/go-qemu/qmp"
)

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

// note keeps the cause of the machine's end (QEMU QMP reference, SHUTDOWN and
// STOP). A machine that stops without having been told to is one KVM could not
// go on with.
func (m *Machine) note(e qmp.Event) {
	switch e.Event {
	case "SHUTDOWN":
		m.setCause(fmt.Sprint(e.Data["reason"]))
	case "STOP":
		m.setCause("internal-error")
		m.Kill()
	}
}

func (m *Machine) setCause(cause string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ending.Cause == "" {
		m.ending.Cause = cause
	}
}
