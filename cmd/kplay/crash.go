package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/harness/crash"
	"github.com/kernel-playground/kplay/harness/crash/symbol"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/results/report"
)

// crashOptions are the flags of kplay crash.
type crashOptions struct {
	json    bool
	all     bool
	against string
	symbols []string
	debug   []string
}

func newCrash() *cobra.Command {
	var o crashOptions
	c := &cobra.Command{
		Use: "crash FILE|DIR|-", Short: "Say what a kernel log complains of, and which feature it points to", Args: between(1, 1),
		Long: `Read a kernel log of any form: a serial console, dmesg with any of its options,
syslog, a journal (short, json, export), pstore, a uReport, also quoted in a mail or
packed with gzip. DIR is a problem directory of ABRT, /sys/fs/pstore or a directory of
kdump's. - reads standard input.`,
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args[0]) },
	}
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print the records as a JSON array")
	f.BoolVarP(&o.all, "verbose", "v", false, "print whole call traces and the lines of the log")
	f.StringVar(&o.against, "against", "", "say whether the first record is the one of this log `FILE`")
	f.StringArrayVar(&o.symbols, "symbols", nil, "System.map or module `FILE` of the build, to know functions without a prefix")
	f.StringArrayVar(&o.debug, "debug", nil, "vmlinux or module `FILE` with debug information, to show source lines")
	return c
}

func (o *crashOptions) run(c *cobra.Command, name string) error {
	records, err := readCrashes(c.InOrStdin(), name)
	if err != nil {
		return err
	}
	if err := o.enrich(records); err != nil {
		return err
	}
	out := bufio.NewWriter(c.OutOrStdout())
	switch {
	case o.against != "":
		err = o.compare(out, c.InOrStdin(), records)
	case o.json:
		err = crashJSON(out, records)
	default:
		crashText(out, records, o.all)
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

// badLog is a log that cannot be read.
func badLog(name, why string) error {
	return kernel.UserError(fmt.Sprintf("read the log %s: %s", name, why))
}

// readCrashes finds the records in a file, a directory or, for "-", in.
func readCrashes(in io.Reader, name string) ([]crash.Record, error) {
	if name == "-" {
		return scanLog(in, "from standard input")
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, badLog(name, reason(err))
	}
	if info.IsDir() {
		return readProblem(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, badLog(name, reason(err))
	}
	defer f.Close()
	return scanLog(f, name)
}

// reason is what went wrong without the file's name.
func reason(err error) string {
	if i := strings.LastIndex(err.Error(), ": "); i >= 0 {
		return err.Error()[i+2:]
	}
	return err.Error()
}

// binaryAfter is how much of a log must be free of what no text holds, in bytes.
const binaryAfter = 4096

// scanLog reads a log, unpacking it first if it is gzip's.
func scanLog(in io.Reader, name string) ([]crash.Record, error) {
	r := bufio.NewReaderSize(in, binaryAfter)
	head, err := r.Peek(binaryAfter)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, badLog(name, reason(err))
	}
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		packed, err := gzip.NewReader(r)
		if err != nil {
			return nil, badLog(name, err.Error())
		}
		r = bufio.NewReaderSize(packed, binaryAfter)
		if head, err = r.Peek(binaryAfter); err != nil && !errors.Is(err, io.EOF) {
			return nil, badLog(name, err.Error())
		}
	}
	if isBinary(head) {
		return nil, badLog(name, "it is no text; give the kernel's log, not a memory dump or an image")
	}
	records, err := crash.ScanReader(r)
	if err != nil {
		return nil, badLog(name, err.Error())
	}
	return records, nil
}

// isBinary knows what is no log: executables, archives, dumps. Serial consoles
// hold some odd bytes.
func isBinary(head []byte) bool {
	odd := 0
	for _, c := range head {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\b' && c != 0x1b {
			odd++
		}
	}
	return odd > len(head)/10
}

// maxProblemFile is how much of a file in a problem directory is read, in bytes.
const maxProblemFile = 64 << 20

func readProblem(dir string) ([]crash.Record, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, badLog(dir, reason(err))
	}
	files := make(map[string][]byte)
	for _, e := range entries {
		if e.IsDir() || !crash.WantedFile(e.Name()) {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, badLog(filepath.Join(dir, e.Name()), reason(err))
		}
		text, err := io.ReadAll(io.LimitReader(f, maxProblemFile))
		f.Close()
		if err != nil {
			return nil, badLog(filepath.Join(dir, e.Name()), reason(err))
		}
		files[e.Name()] = text
	}
	records, ok := crash.ScanFiles(files)
	if !ok {
		return nil, badLog(dir, "it holds no backtrace, dmesg or vmcore-dmesg.txt")
	}
	return records, nil
}

// enrich adds source lines and the features the records point to.
func (o *crashOptions) enrich(records []crash.Record) error {
	for _, name := range o.debug {
		if err := symbolise(name, records); err != nil {
			return err
		}
	}
	symbols, err := readSymbols(o.symbols)
	if err != nil {
		return err
	}
	features, err := harness.Traces()
	if err != nil {
		return err
	}
	for i := range records {
		records[i].Attribution = crash.Attribute(records[i], features, symbols)
	}
	return nil
}

func symbolise(name string, records []crash.Record) error {
	f, err := os.Open(name)
	if err != nil {
		return kernel.UserError(err.Error())
	}
	defer f.Close()
	b, err := symbol.Open(name, f)
	if err != nil {
		return kernel.UserError(err.Error())
	}
	for i := range records {
		records[i].Frames = b.Frames(records[i].Frames)
	}
	return nil
}

func readSymbols(names []string) (*crash.Symbols, error) {
	symbols := new(crash.Symbols)
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, kernel.UserError(err.Error())
		}
		if strings.HasSuffix(name, ".ko") {
			err = symbols.ReadModule(name, f)
		} else {
			err = symbols.ReadSystemMap(f)
		}
		f.Close()
		if err != nil {
			return nil, kernel.UserError(err.Error())
		}
	}
	return symbols, nil
}

// compare says whether the first record is that of another log.
func (o *crashOptions) compare(w io.Writer, in io.Reader, records []crash.Record) error {
	others, err := readCrashes(in, o.against)
	if err != nil {
		return err
	}
	if len(records) == 0 || len(others) == 0 {
		return kernel.UserError("compare: one of the logs complains of nothing")
	}
	if err := o.enrich(others); err != nil {
		return err
	}
	likeness, why := crash.Match(records[0], others[0])
	if o.json {
		return json.NewEncoder(w).Encode(map[string]string{"match": string(likeness), "reason": why})
	}
	fmt.Fprintf(w, "%s: %s\n", likeness, report.Escape(why))
	for i := range others[1:] {
		if later, _ := crash.Match(records[0], others[i+1]); later == crash.Same && likeness != crash.Same {
			fmt.Fprintf(w, "the first record is the same as number %d of the other log\n", i+2)
			break
		}
	}
	return nil
}

func crashJSON(w io.Writer, records []crash.Record) error {
	if records == nil {
		records = []crash.Record{}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(records)
}
