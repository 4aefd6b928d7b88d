package kdbus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// A remote is a process that does what a case asks it to, one thing at a time:
// in namespaces of its own, across an exec, or until it is killed.
type remote struct {
	f    *fixture
	cmd  *exec.Cmd
	in   io.WriteCloser
	asks *json.Encoder
	says *json.Decoder
}

// An order is what a remote is asked to do, and a report what came of it.
type order struct {
	Do   string
	Args []string
}

type report struct {
	Errno unix.Errno // 0 if it worked or failed in another way
	Error string     // why it did not work, else
	Text  string     // what it has to tell
}

// start starts a remote with descriptors, which it has as 3 and on. It ends with
// the case, if it is not killed before.
func (f *fixture) start(attr *syscall.SysProcAttr, fds ...int) *remote {
	f.t.Helper()
	r := &remote{f: f, cmd: suites.Program(suiteName, "remote")}
	r.cmd.SysProcAttr, r.cmd.Stderr = attr, os.Stderr
	for _, fd := range fds {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		f.do("duplicate a descriptor", err)
		file := os.NewFile(uintptr(dup), "inherited")
		defer file.Close()
		r.cmd.ExtraFiles = append(r.cmd.ExtraFiles, file)
	}
	in, err := r.cmd.StdinPipe()
	f.do("make a pipe", err)
	out, err := r.cmd.StdoutPipe()
	f.do("make a pipe", err)
	if err := r.cmd.Start(); err != nil {
		if attr != nil && attr.Cloneflags&unix.CLONE_NEWUSER != 0 {
			f.t.Skipf("this kernel has no user namespaces for a process of %d: %v", os.Geteuid(), err)
		}
		f.do("start a process", err)
	}
	r.in, r.asks, r.says = in, json.NewEncoder(in), json.NewDecoder(out)
	f.remotes = append(f.remotes, r)
	return r
}

// ask has the remote do something and returns what it has to tell.
func (r *remote) ask(do string, args ...any) (string, error) {
	r.order(do, args...)
	return r.report()
}

// order has the remote begin something.
func (r *remote) order(do string, args ...any) {
	r.f.t.Helper()
	o := order{Do: do}
	for _, a := range args {
		o.Args = append(o.Args, fmt.Sprint(a))
	}
	r.f.do("give an order", r.asks.Encode(o))
}

// report waits until the remote has done what it was ordered to.
func (r *remote) report() (string, error) {
	var got report
	if err := r.says.Decode(&got); err != nil {
		return "", fmt.Errorf("hear from another process: %w", err)
	}
	switch {
	case got.Errno != 0:
		return got.Text, got.Errno
	case got.Error != "":
		return got.Text, errors.New(got.Error)
	}
	return got.Text, nil
}

// does has the remote do what must succeed.
func (r *remote) does(do string, args ...any) string {
	r.f.t.Helper()
	text, err := r.ask(do, args...)
	r.f.do("another process: "+do, err)
	return text
}

// number is does, of what tells a number.
func (r *remote) number(do string, args ...any) uint64 {
	r.f.t.Helper()
	n, err := strconv.ParseUint(r.does(do, args...), 10, 64)
	r.f.do("read what another process tells of "+do, err)
	return n
}

// kill ends the process by a signal that it cannot catch.
func (r *remote) kill() {
	if r.cmd == nil {
		return
	}
	r.cmd.Process.Kill()
	r.in.Close()
	r.cmd.Wait()
	r.cmd = nil
}

// A performer is the remote's side: what it has open.
type performer struct {
	conn *kc.Conn
	bus  *kc.Bus
}

// performances are what a remote can be asked to do.
var performances = map[string]func(p *performer, args []string) (string, error){
	"dial":  (*performer).dial,
	"adopt": (*performer).adopt,
	"send":  (*performer).send,
	"name":  (*performer).sendName,
	"signal": func(p *performer, a []string) (string, error) {
		return "", p.conn.Send(broadcast(number(a[0])), zeroFilter())
	},
	"call": (*performer).call,
	"recv": (*performer).recv,
	"acquire": func(p *performer, a []string) (string, error) {
		_, err := p.conn.Acquire(a[0], number(a[1]))
		return "", err
	},
	"match": func(p *performer, _ []string) (string, error) {
		return "", p.conn.Match(1, 0, kc.OfID(kc.ItemID, kc.MatchAnyID))
	},
	"mount":  func(_ *performer, a []string) (string, error) { return "", kc.Mount(a[0]) },
	"bus":    (*performer).makeBus,
	"pids":   func(*performer, []string) (string, error) { return fmt.Sprint(os.Getpid(), " ", os.Getppid()), nil },
	"close":  func(_ *performer, a []string) (string, error) { return "", unix.Close(int(number(a[0]))) },
	"exec":   (*performer).exec,
	"chroot": func(_ *performer, a []string) (string, error) { return "", unix.Chroot(a[0]) },
	"identity": func(_ *performer, a []string) (string, error) {
		return "", errors.Join(unix.Setgroups(nil), syscall.Setresgid(int(number(a[1])), int(number(a[1])), int(number(a[1]))),
			syscall.Setresuid(int(number(a[0])), int(number(a[0])), int(number(a[0]))))
	},
	"policy": func(p *performer, a []string) (string, error) {
		return "", p.conn.Update(kc.Name(a[0]), kc.Access(kc.PolicyUser, kc.PolicyOwn, number(a[1])))
	},
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64) // what is no number is 0, which the case will notice
	return n
}

// perform is the program of a remote.
func perform([]string) int {
	var p performer
	asks, says := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if asks.Decode(&o) != nil {
			return 0
		}
		var r report
		do, ok := performances[o.Do]
		err := fmt.Errorf("no such order: %s", o.Do)
		if ok {
			r.Text, err = do(&p, o.Args)
		}
		if err != nil && !errors.As(err, &r.Errno) {
			r.Error = err.Error()
		}
		if says.Encode(r) != nil {
			return 1
		}
	}
}

// dial connects: path, flags, send mask, receive mask, name of a special kind.
func (p *performer) dial(a []string) (string, error) {
	o := kc.Options{Flags: number(a[1]), AttachSend: number(a[2]), AttachRecv: number(a[3]), PoolSize: smallPool}
	if len(a) > 4 {
		o.Items = []kc.Item{kc.Name(a[4])}
	}
	var err error
	if p.conn, err = kc.Dial(a[0], o); err != nil {
		return "", err
	}
	return fmt.Sprint(p.conn.ID), nil
}

// adopt takes an inherited connection: descriptor, size of its pool.
func (p *performer) adopt(a []string) (string, error) {
	fd := int(number(a[0]))
	mem, err := kc.MapPool(fd, number(a[1]))
	p.conn = &kc.Conn{FD: fd, Pool: mem}
	return "", err
}

func (p *performer) send(a []string) (string, error) {
	return "", p.conn.Send(toID(number(a[0]), number(a[1])))
}

func (p *performer) sendName(a []string) (string, error) {
	return "", p.conn.Send(byName(number(a[1])), kc.To(a[0]))
}

// call calls and waits: destination, cookie, timeout.
func (p *performer) call(a []string) (string, error) {
	m, err := p.conn.Call(calling(toID(number(a[0]), number(a[1])), number(a[2])), -1)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(m.Cookie), p.conn.FreeMessage(m)
}

// A seen is what a remote tells of a message.
type seen struct {
	Cookie, Src uint64
	Creds       kc.Creds
	PIDs        kc.PIDs
	Types       []uint64 // of its items
}

// recv waits for a message and tells of it.
func (p *performer) recv([]string) (string, error) {
	if _, err := p.conn.Poll(unix.POLLIN, patience); err != nil {
		return "", err
	}
	m, err := p.conn.Recv(0, 0)
	if err != nil {
		return "", err
	}
	closeAll(m)
	s := seen{Cookie: m.Cookie, Src: m.SrcID}
	for _, i := range m.Items {
		s.Types = append(s.Types, i.Type)
		switch i.Type {
		case kc.ItemCreds:
			s.Creds, _ = kc.As[kc.Creds](i)
		case kc.ItemPIDs:
			s.PIDs, _ = kc.As[kc.PIDs](i)
		}
	}
	b, err := json.Marshal(s)
	return string(b), err
}

// sees has the remote receive a message.
func (r *remote) sees() (s seen) {
	r.f.t.Helper()
	r.f.do("read what another process received", json.NewDecoder(strings.NewReader(r.does("recv"))).Decode(&s))
	return s
}

// makeBus makes a bus: root, name.
func (p *performer) makeBus(a []string) (string, error) {
	var err error
	p.bus, err = kc.NewBus(a[0], kc.BusSpec{Name: a[1], Flags: kc.AccessWorld, Bloom: kc.BloomParameter{Size: bloomSize, Hashes: 1}})
	return "", err
}

// exec becomes the same program again, with the descriptors that outlive it; what
// it was given before it has heard.
func (p *performer) exec([]string) (string, error) {
	if err := json.NewEncoder(os.Stdout).Encode(report{}); err != nil {
		return "", err
	}
	return "", unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), suites.ProgramEnv(suiteName, "remote")))
}
