package crash

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

// A message is what a line of the logs in testdata says.
var messageLine = regexp.MustCompile(`^\[ *([0-9]+)\.([0-9]+)\](?:\[ *([TC][0-9]+)\])? (.*)$`)

// forms write a message as it looks in another form of log. They are given the
// parts of the stamp, the caller, which may be empty, and the text.
var forms = map[string]func(sec, usec, caller, text string) string{
	"kmsg text": func(_, _, _, text string) string { return text + "\n" },
	"level":     func(s, u, c, text string) string { return "<4>" + stamped(s, u, c) + text + "\n" },
	"glued":     func(s, u, c, text string) string { return "/ # make" + stamped(s, u, c) + text + "\n" },
	"windows":   func(s, u, c, text string) string { return stamped(s, u, c) + text + "\r\n" },
	"colours": func(s, u, _, text string) string {
		return "\x1b[32m[ " + s + "." + u + "] \x1b[0m\x1b[31m" + text + "\x1b[0m\n"
	},
	"syslog": func(s, u, c, text string) string {
		return "Nov 28 07:15:41 host kernel: " + stamped(s, u, c) + text + "\n"
	},
	"syslog bare": func(_, _, _, text string) string { return "Nov  8 07:15:41 host kernel: " + text + "\n" },
	"busybox": func(s, u, _, text string) string {
		return "Nov  8 07:15:41 host kern.warn kernel: " + stamped(s, u, "") + text + "\n"
	},
	"iso syslog": func(s, u, _, text string) string {
		return "2026-11-28T07:15:41.123456+00:00 host kernel: " + stamped(s, u, "") + text + "\n"
	},
	"short-iso":     func(_, _, _, text string) string { return "2026-11-28T07:15:41+0000 host kernel: " + text + "\n" },
	"short-full":    func(_, _, _, text string) string { return "Sat 2026-11-28 07:15:41 UTC host kernel: " + text + "\n" },
	"short-unix":    func(_, _, _, text string) string { return "1764314141.123456 host kernel: " + text + "\n" },
	"monotonic":     func(s, u, _, text string) string { return "[    " + s + "." + u + "] host kernel: " + text + "\n" },
	"dmesg -T":      func(_, _, _, text string) string { return "[Sat Nov 28 07:15:41 2026] " + text + "\n" },
	"dmesg -x":      func(s, u, _, text string) string { return "kern  :warn  : " + stamped(s, u, "") + text + "\n" },
	"dmesg -xT":     func(_, _, _, text string) string { return "kern  :emerg : [Sat Nov 28 07:15:41 2026] " + text + "\n" },
	"dmesg -H":      func(_, _, _, text string) string { return "[  +0.000012] " + text + "\n" },
	"dmesg iso":     func(_, _, _, text string) string { return "2026-11-28T07:15:41,123456+00:00 " + text + "\n" },
	"dmesg -d":      func(s, u, _, text string) string { return "[ " + s + "." + u + " <    0.000012>] " + text + "\n" },
	"dmesg -r":      func(s, u, _, text string) string { return "<4>[ " + s + "." + u + "] " + text + "\n" },
	"devkmsg":       func(s, u, _, text string) string { return "4,339," + s + u + ",-;" + text + "\n" },
	"mail":          func(s, u, c, text string) string { return "> > " + stamped(s, u, c) + text + "\n" },
	"logged screen": func(s, u, c, text string) string { return "[2026-11-28 07:15:41] " + stamped(s, u, c) + text + "\n" },
	"json": func(s, u, _, text string) string {
		line, _ := json.Marshal(map[string]string{"__CURSOR": "s=1", "MESSAGE": text, "_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": s + u})
		return string(line) + "\n"
	},
	"export": func(s, u, _, text string) string {
		return "__CURSOR=s=1\n_SOURCE_MONOTONIC_TIMESTAMP=" + s + u + "\n_TRANSPORT=kernel\nMESSAGE=" + text + "\nSYSLOG_IDENTIFIER=kernel\n\n"
	},
	"verbose": func(_, _, _, text string) string {
		return "Sat 2026-11-28 07:15:41.123456 UTC [s=1;i=2]\n    _TRANSPORT=kernel\n    MESSAGE=" + text + "\n    SYSLOG_IDENTIFIER=kernel\n"
	},
}

func stamped(sec, usec, caller string) string {
	s := fmt.Sprintf("[%5s.%s]", sec, usec)
	if caller != "" {
		s += fmt.Sprintf("[%6s]", caller)
	}
	return s + " "
}

// reform writes a log in another form.
func reform(log []byte, form func(sec, usec, caller, text string) string) string {
	var b strings.Builder
	for line := range strings.Lines(string(log)) {
		m := messageLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			b.WriteString(line)
			continue
		}
		b.WriteString(form(m[1], m[2], m[3], m[4]))
	}
	return b.String()
}

// The same report is read from every form its lines come in, and has the same
// signature. Two reports mixed into one another are told apart by their callers
// only, which most forms do not keep.
func TestScanIgnoresForms(t *testing.T) {
	for _, name := range logs(t) {
		log := read(t, name)
		want := render(t, Scan(log))
		for form, write := range forms {
			if strings.Contains(name, "interleaved") && !strings.Contains(write("1", "000000", "T1", ""), "T1") {
				continue
			}
			got := Scan([]byte(reform(log, write)))
			assert.Equal(t, render(t, got), want, "%s of %s", form, name)
		}
	}
}

// Parts of a pstore dump are put in order, and what two dumps share counts once.
func TestScanPstore(t *testing.T) {
	for _, name := range logs(t) {
		log := read(t, name)
		want := render(t, Scan(log))
		lines := strings.SplitAfter(string(log), "\n")
		a, b := len(lines)/3, 2*len(lines)/3
		part := func(dump string, n int, lines []string) string {
			return fmt.Sprintf("%s Part%d\n%s", dump, n, strings.Join(lines, ""))
		}
		newest := part("Panic#2", 1, lines[b:]) + part("Panic#2", 2, lines[a:b]) + part("Panic#2", 3, lines[:a])
		oldest := part("Panic#1", 3, lines[:a]) + part("Panic#1", 2, lines[a:b]) + part("Panic#1", 1, lines[b:])
		oops := part("Oops#1", 2, lines[:a]) + part("Oops#1", 1, lines[a:b]) + newest
		for order, text := range map[string]string{"newest first": newest, "oldest first": oldest, "oops and panic": oops} {
			assert.Equal(t, render(t, Scan([]byte(text))), want, "%s of %s", order, name)
		}
	}
}

// Offsets point into the raw log, whatever its form.
func TestNormaliseKeepsOffsets(t *testing.T) {
	for _, name := range logs(t) {
		for form, write := range forms {
			log := reform(read(t, name), write)
			end := int64(0)
			for _, l := range Normalise([]byte(log)) {
				assert.Assert(t, l.Start >= 0 && l.Start <= l.End && l.End <= int64(len(log)), form)
				assert.Assert(t, l.End >= end, form)
				end = l.End
				if form != "json" && form != "colours" {
					assert.Assert(t, strings.Contains(log[l.Start:l.End], l.Text), "%s of %s: %q in %q", form, name, l.Text, log[l.Start:l.End])
				}
			}
		}
	}
}

func TestNormaliseForms(t *testing.T) {
	cases := []struct {
		line, text, stamp, caller string
		user                      bool
	}{
		{"[   12.345678][  T123] x", "x", "12.345678", "T123", false},
		{"<6>[   12.345678] x", "x", "12.345678", "", false},
		{"<4>[ 1.2] x", "x", "1.2", "", false},
		{"<30>systemd[1]: x", "systemd[1]: x", "", "", true},
		{"[   12.345678] systemd[1]: x", "systemd[1]: x", "12.345678", "", false},
		{"Nov 28 07:15:41 host systemd[1]: WARNING: x", "WARNING: x", "", "", true},
		{"Nov 28 07:15:41 host qemu[12]: [   12.345678] x", "x", "12.345678", "", false},
		{"Nov 28 07:15:41 kernel: x", "x", "", "", false},
		{"user  :notice: [    1.000000] x", "x", "1.000000", "", true},
		{"12,339,5140900,-;x", "x", "5.140900", "", true},
		{"4,339,140900,-,caller=T12;x", "x", "0.140900", "T12", false},
		{"login: [   12.345678] x", "login: ", "", "", true},
		{"[T123] x", "[T123] x", "", "", false},
		{" frame+0x1/0x2", " frame+0x1/0x2", "", "", false},
		{"", "", "", "", false},
	}
	for _, c := range cases {
		l := Normalise([]byte(c.line + "\n"))[0]
		assert.Equal(t, l.Text, strings.TrimRight(c.text, " "), c.line)
		assert.Equal(t, l.Stamp, c.stamp, c.line)
		assert.Equal(t, l.Caller, c.caller, c.line)
		assert.Equal(t, l.User, c.user, c.line)
	}
}

// A mail program breaks long lines; their ends are put back.
func TestNormaliseJoinsWrappedLines(t *testing.T) {
	for _, mark := range []string{"> ", ""} {
		joinsWrapped(t, "> [   12.345678] CPU: 0 PID: 123 Comm: foo Tainted: G        W  OE\n"+mark+"5.4.0-42-generic #46-Ubuntu\n> [   12.345679] x\n>\n> text\n")
	}
}

func joinsWrapped(t *testing.T, mail string) {
	t.Helper()
	lines := Normalise([]byte(mail))
	assert.Equal(t, lines[0].Text, "CPU: 0 PID: 123 Comm: foo Tainted: G        W  OE 5.4.0-42-generic #46-Ubuntu")
	first, _, _ := strings.Cut(mail, "\n> [   12.345679]")
	assert.Equal(t, mail[lines[0].Start:lines[0].End], first)
	assert.Equal(t, lines[1].Text, "x")
}

func TestScanUReport(t *testing.T) {
	report := `{"ureport_version": 2, "reason": "Kernel oops in f", "problem": {"type": "kerneloops", "component": "kernel",
"raw_oops": "BUG: unable to handle kernel NULL pointer dereference at 0000000000000010\nIP: [<ffffffffa0123456>] ovl_copy_up_one+0x12\/0x340 [overlay]\nCPU: 1 PID: 812 Comm: rm Not tainted 3.16.0-0.rc4.git1.1.fc21.x86_64 #1\nCall Trace:\n [<ffffffffa0123999>] ovl_copy_up+0x99\/0x100 [overlay]\n",
"frames": [{"function_name": "ovl_copy_up_one", "function_offset": 18, "function_length": 832, "module_name": "overlay", "reliable": true}]}}`
	for _, text := range []string{report, strings.Replace(report, `"raw_oops"`, `"other"`, 1)} {
		records := Scan([]byte(text))
		assert.Equal(t, len(records), 1)
		assert.Equal(t, records[0].Func, "ovl_copy_up_one")
		assert.Equal(t, records[0].Module, "overlay")
	}
}
