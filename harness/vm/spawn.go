package vm

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// The kernel sends a child's parent-death signal when the thread that made the
// child ends, not the process (prctl(2), PR_SET_PDEATHSIG); and the Go runtime
// ends threads as it likes. So all machines are started from one thread that
// lives as long as the process.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// spawn starts cmd so that it is killed when this process ends in any way. It
// is put in a process group of its own: a Ctrl-C at the terminal is for us to
// act on.
func spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	done := make(chan error)
	spawner() <- func() { done <- cmd.Start() }
	return <-done
}
