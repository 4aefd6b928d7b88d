package crash

import (
	"sort"
	"strconv"
	"strings"
)

// pstoreHeader reads the line a dump in pstore begins with, "Panic#1 Part2": why
// the kernel dumped its log and how often it had by then, and the part, of which
// the first is the newest (fs/pstore/platform.c). A ramoops record begins with
// "====" and the time (fs/pstore/ram.c).
func pstoreHeader(line string) (dump string, part int, ok bool) {
	line = strings.TrimRight(line, "\r")
	if rest, is := strings.CutPrefix(line, "===="); is && len(line) < 40 {
		sec, tail, _ := strings.Cut(rest, ".")
		usec, flag, _ := strings.Cut(tail, "-")
		return rest, 1, all(sec, digits) && all(usec, digits) && (flag == "C" || flag == "D")
	}
	dump, number, found := strings.Cut(line, " Part")
	reason, count, counted := strings.Cut(dump, "#")
	if !found || !counted || !all(count, digits) || !all(number, digits) || strings.IndexByte(reason, ' ') >= 0 {
		return "", 0, false
	}
	part, err := strconv.Atoi(number)
	return dump, part, err == nil
}

// A part is one piece of a pstore dump.
type part struct {
	dump   string
	order  int // of the dump among the others
	number int
	text   string
	offset int64
}

// pstore takes a row of dumps: the oldest part of each first, whatever their
// order in the log. What one dump repeats of another is taken once.
func (n *normaliser) pstore(log string) {
	parts := pstoreParts(log)
	sort.SliceStable(parts, func(i, j int) bool {
		if parts[i].order != parts[j].order {
			return parts[i].order < parts[j].order
		}
		return parts[i].number > parts[j].number
	})
	emit := n.emit
	seen := make(map[string]string)
	dump := ""
	n.emit = func(l *Line) {
		key := l.Stamp + l.Caller + "\x00" + l.Text
		first, repeated := seen[key]
		if repeated && first != dump && l.Stamp != "" {
			return
		}
		seen[key] = dump
		emit(l)
	}
	for _, p := range parts {
		dump = p.dump
		n.lines(p.text, p.offset)
	}
	n.close()
	n.emit = emit
}

func pstoreParts(log string) []part {
	var parts []part
	orders := make(map[string]int)
	offset := 0
	for offset < len(log) {
		line, rest, _ := strings.Cut(log[offset:], "\n")
		next := len(log) - len(rest)
		if dump, number, ok := pstoreHeader(line); ok {
			order, known := orders[dump]
			if !known {
				order = dumpOrder(dump, len(orders))
				orders[dump] = order
			}
			parts = append(parts, part{dump: dump, order: order, number: number, offset: int64(next)})
		} else if len(parts) > 0 {
			p := &parts[len(parts)-1]
			p.text = log[p.offset:next]
		}
		offset = next
	}
	return parts
}

// dumpOrder is the count in "Oops#1", or the place in the log.
func dumpOrder(dump string, place int) int {
	if _, count, ok := strings.Cut(dump, "#"); ok {
		if n, err := strconv.Atoi(count); err == nil {
			return n
		}
	}
	return place
}
