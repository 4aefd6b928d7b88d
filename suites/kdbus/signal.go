package kdbus

import (
	"errors"
	"os"
	"os/signal"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// A sigaction is the kernel's struct of that name on x86_64 (signal.h).
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// restartFlag is SA_RESTART.
const restartFlag = 0x10000000

// withoutRestart has a signal, which the Go runtime handles, interrupt system calls
// for good. The runtime's own handlers all restart them.
func (f *fixture) withoutRestart(sig unix.Signal) {
	f.t.Helper()
	c := make(chan os.Signal, 64)
	signal.Notify(c, sig)
	f.t.Cleanup(func() { signal.Stop(c) })
	var old sigaction
	f.do("read how a signal is handled", rtSigaction(sig, nil, &old))
	changed := old
	changed.flags &^= restartFlag
	f.do("have a signal interrupt calls", rtSigaction(sig, &changed, nil))
	f.t.Cleanup(func() { f.do("have a signal restart calls", rtSigaction(sig, &old, nil)) })
}

func rtSigaction(sig unix.Signal, set, old *sigaction) error {
	if _, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0); e != 0 {
		return e
	}
	return nil
}

// A waiting is a call of a thread that can be sent signals.
type waiting struct {
	tid  int
	done chan answer
}

// callsOnThread has a call wait once, without another try when it is interrupted.
func (p *peer) callsOnThread(m kc.Msg, items ...kc.Item) waiting {
	w := waiting{done: make(chan answer, 1)}
	tid := make(chan int)
	go func() {
		_ = onThread(func() error {
			tid <- unix.Gettid()
			told, err := p.SendWith(kc.SyncReply, nil, m, items...)
			if err == nil {
				err = p.Free(told.Offset)
			}
			w.done <- answer{err: err}
			return nil
		})
	}()
	w.tid = <-tid
	return w
}

// interrupt sends the thread signals until its call ends, and returns how.
func (f *fixture) interrupt(w waiting, sig unix.Signal) error {
	f.t.Helper()
	for {
		f.sleeps(w.tid)
		if err := unix.Tgkill(os.Getpid(), w.tid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			f.do("send a signal", err)
		}
		select {
		case a := <-w.done:
			return a.err
		default:
		}
	}
}

var signalCases = []suites.Case{
	{
		Name: "sync-signal-restart", Alone: true,
		Doc: "A call that signals interrupt goes on by itself, to its deadline, and is sent once (test-sync.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			c := make(chan os.Signal, 64)
			signal.Notify(c, unix.SIGUSR1)
			defer signal.Stop(c)
			w := a.callsOnThread(call(b, 7, waitable))
			b.waits("the call")
			f.refused("the call", f.interrupt(w, unix.SIGUSR1), unix.ETIMEDOUT)
			<-c
			b.nothing("after the call")
		},
	},
	{
		Name: "sync-signal-restart-answered", Alone: true,
		Doc: "A call that signals interrupt is answered as any other (test-sync.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			c := make(chan os.Signal, 64)
			signal.Notify(c, unix.SIGUSR1)
			defer signal.Stop(c)
			w := a.callsOnThread(call(b, 7, 600*second))
			m := b.waits("the call")
			f.sleeps(w.tid)
			f.do("send a signal", unix.Tgkill(os.Getpid(), w.tid, unix.SIGUSR1))
			<-c
			b.sends(reply(m, 8))
			f.do("the call", (<-w.done).err)
			b.nothing("after the call")
		},
	},
	{
		Name: "sync-no-restart-eintr", Alone: true,
		Doc: "A call that a signal without SA_RESTART interrupts is EINTR; given again, with the same cookie, it waits on and is sent no second time (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.withoutRestart(unix.SIGUSR1)
			a, b := f.peer(), f.peer()
			m := call(b, 7, 600*second)
			w := a.callsOnThread(m)
			got := b.waits("the call")
			f.refused("the call", f.interrupt(w, unix.SIGUSR1), unix.EINTR)
			b.nothing("after the signal")
			w = a.callsOnThread(m)
			f.sleeps(w.tid)
			b.sends(reply(got, 8))
			f.do("the call given again", (<-w.done).err)
			b.nothing("after the reply")
		},
	},
	{
		Name: "sync-resume-different-content", Alone: true,
		Doc: "A call given again with its cookie and another payload is the same call to the 2015 code (connection.c), which is told, not judged.",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.withoutRestart(unix.SIGUSR1)
			a, b := f.peer(), f.peer()
			m := call(b, 7, 600*second)
			w := a.callsOnThread(m)
			got := b.waits("the call")
			f.refused("the call", f.interrupt(w, unix.SIGUSR1), unix.EINTR)
			w = a.callsOnThread(m, kc.Payload([]byte("something else")))
			f.sleeps(w.tid)
			b.sends(reply(got, 8))
			if n := b.drain(); n > 0 {
				t.Logf("the call given again was sent: %d more", n)
				b.close()
				f.refused("the call given again", (<-w.done).err, unix.EPIPE)
				a.drain()
				return
			}
			t.Log("quirk: the call given again was not sent")
			f.do("the call given again", (<-w.done).err)
		},
	},
}
