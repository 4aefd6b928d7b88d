package suites

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// PartVar names the environment variable that makes a process a part of a case:
// its value is the case's full name. PlayPart obeys it.
const PartVar = "KPLAY_PART"

// These name the environment variables that hold a part's directory and its
// parameters.
const (
	partDirVar    = "KPLAY_PART_DIR"
	partParamsVar = "KPLAY_PART_PARAMS"
)

// reportFD is the descriptor on which a part tells its outcome.
const reportFD = 3

// Enter runs the case's Within in a process of its own, born as attr says, and
// waits for its end. That is the way into a user namespace, which a process with
// several threads, as every Go process is, cannot enter (unshare(2), EINVAL).
//
// In the part, dir is what Dir returns. What the part logs goes to the case's
// output. If it fails, or ends before its function does, the case has failed and
// Enter returns false; if it is skipped, so is the case.
func (t *T) Enter(dir string, attr *syscall.SysProcAttr) bool {
	t.Helper()
	report, theirs, err := os.Pipe()
	if err != nil {
		t.Fatalf("make a pipe for a part's outcome: %v", err)
	}
	defer report.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"kplay-part"}
	cmd.Env = append(os.Environ(), PartVar+"="+t.full, partDirVar+"="+dir, partParamsVar+"="+t.params.String())
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = attr
	err = cmd.Start()
	theirs.Close()
	if errors.Is(err, unix.EINVAL) && attr.Cloneflags&unix.CLONE_NEWUSER != 0 && !hasUserNamespaces() {
		t.Skip("this kernel has no user namespaces (CONFIG_USER_NS)")
	}
	if err != nil {
		t.Fatalf("start a part of the case: %v", err)
	}
	ended := cmd.Wait()
	var o Outcome
	if err := json.NewDecoder(report).Decode(&o); err != nil {
		if ended == nil {
			ended = errors.New("exit status 0")
		}
		t.Errorf("a part of the case ended before its function did: %v", ended)
		return false
	}
	return t.adopt(o)
}

// adopt makes a part's outcome count for the case.
func (t *T) adopt(o Outcome) bool {
	switch o.Status {
	case Skip:
		t.skipFor(o.Reason)
	case Fail:
		t.fail(o.Reason)
	}
	return o.Status == Pass
}

func hasUserNamespaces() bool {
	_, err := os.Stat("/proc/self/ns/user")
	return err == nil
}

// PlayPart plays the part of a case this process was started for, and exits. It
// returns at once if it was started for none. It belongs where main begins.
func PlayPart(all []Suite) {
	full, dir := os.Getenv(PartVar), os.Getenv(partDirVar)
	if full == "" {
		return
	}
	said, err := ParseParams(os.Getenv(partParamsVar))
	if err != nil {
		fmt.Fprintln(os.Stderr, "kplay part:", err)
		os.Exit(3)
	}
	for _, name := range []string{PartVar, partDirVar, partParamsVar} {
		os.Unsetenv(name) // a program the part starts is none
	}
	unix.CloseOnExec(reportFD)
	s, c, ok := Find(all, full)
	if !ok || c.Within == nil {
		fmt.Fprintf(os.Stderr, "kplay part: %s has no part to play\n", full)
		os.Exit(3)
	}
	c.Run = c.Within
	o := s.Execute(c, dir, said, func(line string) { os.Stdout.WriteString(line + "\n") })
	if err := json.NewEncoder(os.NewFile(reportFD, "report")).Encode(o); err != nil {
		fmt.Fprintln(os.Stderr, "kplay part: tell the outcome:", err)
		os.Exit(3)
	}
	os.Exit(0)
}
