// Package event is the wire format between guest and host: what is said (Event),
// how it is written (codec.go), how it is framed so that nothing else on the line
// can pass for it (frame.go), and how frames lost or torn by foreign bytes are
// sent again (Conn).
package event

// A Kind says what an Event is about.
type Kind string

// What the guest says, in this order.
const (
	Knock  Kind = "knock"  // the loader has opened the channel and waits for Go; under BootKey
	Pace   Kind = "pace"   // the agent begins its measure of the guest's speed; under ReadyKey
	Ready  Kind = "ready"  // that is done, and the agent waits for Welcome; under ReadyKey
	Hello  Kind = "hello"  // the agent, or seen from it a runner, is ready for cases
	Start  Kind = "start"  // a case begins
	Output Kind = "output" // text a case logged or printed
	Kmsg   Kind = "kmsg"   // a record of the kernel's log; before Ready those of the boot
	Finish Kind = "finish" // a case ended by itself, or its process did
	Pong   Kind = "pong"   // the answer to Ping, before Welcome too, and to Dump when the dump is written
	Bye    Kind = "bye"    // the answer to Stop: all has been said
)

// What the host says.
const (
	Go      Kind = "go"      // go on as the agent, with what was landed; under BootKey
	Welcome Kind = "welcome" // the key of this machine, its name, and the host's clock; under ReadyKey
	Run     Kind = "run"     // run one case
	Ping    Kind = "ping"    // are you there? Before Welcome, a rehearsal of it
	Dump    Kind = "dump"    // have the kernel show its blocked tasks and all CPUs
	Stop    Kind = "stop"    // say the last of the kernel's words, and bye
)

// An Event is one record from guest to host or back. Which fields are set
// depends on its Kind; the zero value of the others is left out.
type Event struct {
	Kind Kind   `json:"kind"`
	Case string `json:"case,omitempty"` // full name, "suite/case"

	// Start, Output, Finish.
	Status   string `json:"status,omitempty"`   // of Finish: "pass", "fail", "skip"
	Reason   string `json:"reason,omitempty"`   // of Finish: one line
	Text     string `json:"text,omitempty"`     // of Output and Kmsg
	Dropped  int64  `json:"dropped,omitempty"`  // of Finish: bytes of output that were not sent
	GuestNS  int64  `json:"guest_ns,omitempty"` // of Finish: duration by the guest's clock
	Dirty    string `json:"dirty,omitempty"`    // of Finish, runner to agent: what the case left behind
	Taint    uint64 `json:"taint,omitempty"`    // of Ready and Finish: /proc/sys/kernel/tainted
	Level    int64  `json:"level,omitempty"`    // of Kmsg: syslog severity, 0 to 7
	Facility int64  `json:"facility,omitempty"` // of Kmsg: 0 is the kernel itself
	Seq      uint64 `json:"seq,omitempty"`      // of Kmsg: the record's number

	// Knock and Ready.
	*Facts

	// Go.
	Size    int64 `json:"size,omitempty"`    // bytes that were landed
	Program int64 `json:"program,omitempty"` // how many of them are the program to become; 0: stay this one

	// Run.
	Alone  bool   `json:"alone,omitempty"`  // the case wants a runner to itself
	Params string `json:"params,omitempty"` // what the case was told, as suites.Params writes it

	// Welcome; Run has WallNS and Go has Entropy, too.
	Key     []byte `json:"key,omitempty"`     // KeySize bytes
	WallNS  int64  `json:"wall_ns,omitempty"` // host's time of day, nanoseconds since 1970
	Entropy []byte `json:"entropy,omitempty"` // fresh random bytes of the host
	Name    string `json:"name,omitempty"`    // the machine's host name
}

// Facts are what a guest tells once about itself.
type Facts struct {
	Release     string            `json:"release,omitempty"`     // uname -r
	Filesystems []string          `json:"filesystems,omitempty"` // of /proc/filesystems
	Marks       []Mark            `json:"marks,omitempty"`       // where the guest's share of the boot went
	Modules     map[string]string `json:"modules,omitempty"`     // module to what became of it: "loaded", or the error
}

// A Mark is a moment of the boot by the guest's monotonic clock, which counts
// from the kernel's start.
type Mark struct {
	Name string `json:"name"`
	NS   int64  `json:"ns"`
}
