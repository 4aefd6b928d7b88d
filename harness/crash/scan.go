package crash

import (
	"bytes"
	"io"
	"strings"
)

// Scan finds the reports in a log of any form Normalise knows, also in the texts
// of kmsg records, one a line. The result is in the order of the log. Time is
// linear in its length.
func Scan(log []byte) []Record {
	// A reader of bytes does not fail.
	records, _ := ScanReader(bytes.NewReader(log))
	return records
}

// pieceSize is how much of a stream is read at a time, bytes.
const pieceSize = 128 << 10

// maxWhole is how much is read of a log whose form must be seen as a whole,
// bytes: pstore keeps some kilobytes, a uReport is a page.
const maxWhole = 16 << 20

// ScanReader is Scan over a stream. The memory it needs does not grow with the
// log's length.
func ScanReader(r io.Reader) ([]Record, error) {
	var s scanner
	n := normaliser{emit: s.line}
	buf := make([]byte, pieceSize)
	have, err := io.ReadFull(r, buf)
	n.form = sniff(string(buf[:have]))
	if n.form == formReport || n.form == formPstore {
		rest, err := io.ReadAll(io.LimitReader(r, maxWhole))
		if err != nil {
			return nil, err
		}
		n.all(string(append(buf[:have], rest...)))
		return s.records(), nil
	}
	var offset int64
	for {
		end := have
		if err == nil {
			end = lastLine(buf[:have])
		}
		n.lines(string(buf[:end]), offset)
		offset += int64(end)
		left := copy(buf, buf[end:have])
		if err != nil {
			break
		}
		var more int
		more, err = io.ReadFull(r, buf[left:])
		have = left + more
	}
	n.close()
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	return s.records(), nil
}

// lastLine is the length of the whole lines in the piece, or of all if it holds
// no end of a line.
func lastLine(piece []byte) int {
	for i := len(piece); i > 0; i-- {
		if piece[i-1] == '\n' {
			return i
		}
	}
	return len(piece)
}

// A scanner holds the reports being read and those before them.
type scanner struct {
	reports []*report // in the order of the log
	extra   *report   // one more than MaxRecords
	spare   *report   // one that was given up
	open    []*report // those that lines can still belong to, the last begun last
	firsts  []bool    // of each report, whether it is the first of its boot
	boot    int       // reports in this boot so far
	lines   int       // of the kernel in this boot
	stamped int       // lines with a stamp
	uptime  string    // the last stamp
	orderly bool      // the machine said that it is about to stop
	version string    // a line that was only a kernel release, as ABRT's begin with
}

// maxOpen bounds the reports that are read at the same time: one a CPU or task,
// told apart by their callers.
const maxOpen = 16

func (s *scanner) line(l *Line) {
	if l.User {
		return
	}
	s.lines++
	if l.Stamp != "" {
		s.stamped++
		if l.Stamp[0] != '0' {
			s.uptime = l.Stamp
		}
	}
	msg := l.Text
	if msg == "" {
		return
	}
	if len(s.open) == 0 && !interesting[msg[0]] && strings.IndexByte(msg, '#') < 0 && !strings.Contains(msg, oomKiller) {
		return
	}
	s.read(l, opens(msg))
}

// interesting has the bytes the lines begin with that a report begins with, or
// that the scanner wants to know of.
var interesting = func() (table [256]bool) {
	for i := range byFirst {
		table[i] = len(byFirst[i]) > 0
	}
	for _, p := range append(append([]string{cutHere}, leads...), farewells...) {
		table[p[0]] = true
	}
	for c := '0'; c <= '9'; c++ {
		table[c] = true
	}
	table['L'] = true
	return table
}()

// read takes a line of the kernel.
func (s *scanner) read(l *Line, opening *opening) {
	msg := l.Text
	own := s.openFor(l)
	cut := strings.HasPrefix(msg, cutHere)
	switch {
	case cut && (own == nil || !own.foretold()):
		s.begin(nil, l)
	case opening != nil && strings.HasPrefix(msg, panicLine) && s.panicked(l):
		// The report it ends goes on.
		s.orderly = true
		return
	case opening != nil && opening.proof && l.Stamp == "" && !l.Dated && s.stamped > 20:
		return // user space's words between the kernel's, which have stamps
	case opening != nil && (own == nil || !own.absorbs(opening, msg)):
		s.begin(opening, l)
	case own == nil:
		s.aside(l)
		return
	}
	own = s.openFor(l)
	if own == nil {
		return
	}
	if !own.add(l, opening) {
		s.close(own)
		s.aside(l)
	}
}

// farewells are what a kernel says before it stops in good order, and kexec
// before it starts another.
var farewells = []string{"reboot: ", "Restarting system", "Power down", "System halted", "Rebooting in", "sysrq: ", "SysRq : ", "kexec_core: ", "Starting new kernel", "ACPI: PM: Preparing to enter"}

// aside reads a line that belongs to no report.
func (s *scanner) aside(l *Line) {
	msg := l.Text
	switch msg[0] {
	case 'L':
		if strings.HasPrefix(msg, "Linux version ") {
			s.booted(l)
		}
	case 'r', 'R', 'P', 'S', 's', 'k', 'A':
		for _, p := range farewells {
			s.orderly = s.orderly || strings.HasPrefix(msg, p)
		}
	case '2', '3', '4', '5', '6', '7', '8', '9':
		if s.lines == 1 && isRelease(msg) && strings.IndexByte(msg, ' ') < 0 {
			s.version = strings.TrimSpace(msg)
		}
	}
}

// rebootLines is how many lines of the kernel make a boot that came to work.
const rebootLines = 20

// rebootAfter is the uptime from which on another boot is no repetition of the
// first one's log, as a second console makes, in seconds.
const rebootAfter = 5

// booted notes that a boot begins. If the one before ended without a word, that
// is a complaint of its own; system logs do not keep the last words.
func (s *scanner) booted(l *Line) {
	for len(s.open) > 0 {
		s.close(s.open[0])
	}
	if s.stamped > rebootLines && !s.orderly && !l.Dated && strings.HasPrefix(l.Stamp, "0.0") && uptime(s.uptime) >= rebootAfter {
		r := s.begin(&opening{class: Reboot}, l)
		r.Class, r.Title, r.Fatal = Reboot, "the machine rebooted without a word", true
		r.keep(l)
		s.close(r)
	}
	s.boot, s.lines, s.stamped, s.orderly, s.uptime = 0, 1, 0, false, ""
}

// uptime is a stamp in whole seconds.
func uptime(stamp string) int {
	sec, _, _ := strings.Cut(stamp, ".")
	return number(sec)
}

// openFor is the report a line belongs to. With callers printed that is the one
// of the same caller, or one about other CPUs' doings that wants to hear of
// them.
func (s *scanner) openFor(l *Line) *report {
	for i := len(s.open) - 1; i >= 0; i-- {
		if r := s.open[i]; r.caller == l.Caller || r.caller == "" || l.Caller == "" {
			return r
		}
	}
	for i := len(s.open) - 1; i >= 0; i-- {
		switch r := s.open[i]; r.Class {
		case RCUStall, SoftLockup, HardLockup, Panic:
			if r.caller[0] != l.Caller[0] || l.Caller[0] == 'C' {
				return r
			}
		}
	}
	return nil
}

// begin opens a report, and ends the one of the same caller.
func (s *scanner) begin(opening *opening, l *Line) *report {
	if r := s.sameCaller(l.Caller); r != nil {
		if len(r.traces) == 0 && r.Title != "" {
			r.mixed = true
		}
		s.close(r)
	}
	if len(s.open) >= maxOpen {
		s.close(s.open[0])
	}
	r := s.spare
	if s.spare = nil; r == nil {
		r = new(report)
	}
	r.init(opening, l)
	r.Release = s.version
	s.version = ""
	s.open = append(s.open, r)
	if len(s.reports) < MaxRecords {
		s.reports = append(s.reports, r)
		s.firsts = append(s.firsts, s.boot == 0)
	} else {
		s.extra = r
	}
	if opening != nil && opening.class != OOMKill && !opening.proof {
		s.boot++
	}
	return r
}

func (s *scanner) sameCaller(caller string) *report {
	for _, r := range s.open {
		if r.caller == caller || r.caller == "" || caller == "" {
			return r
		}
	}
	return nil
}

// close ends a report. It may be opened again by the panic it brings on.
func (s *scanner) close(r *report) {
	for i, o := range s.open {
		if o == r {
			s.open = append(s.open[:i], s.open[i+1:]...)
			break
		}
	}
	if r == s.extra {
		if last := len(s.reports) - 1; r.gravity() > s.reports[last].gravity() {
			s.reports[last] = r
		} else {
			s.spare = r
		}
		s.extra = nil
	}
}

// records are the reports that turned out to be some.
func (s *scanner) records() []Record {
	for len(s.open) > 0 {
		s.close(s.open[0])
	}
	var records []Record
	first := true
	for i, r := range s.reports {
		if i < len(s.firsts) && s.firsts[i] {
			first = true
		}
		record, ok := r.finish()
		if !ok {
			continue
		}
		record.First = first && record.Complains()
		first = first && !record.First
		records = append(records, record)
	}
	return records
}
