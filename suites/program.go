package suites

import (
	"os"
	"os/exec"
	"strings"
)

// programVar is the environment variable that has this binary run a suite's
// program: "suite/program".
const programVar = "KPLAY_SUITE_PROGRAM"

// Program prepares a process that runs a program of a suite, where a goroutine
// or a thread will not do: for a user namespace, an exec, or a death of its own.
// It is this binary again.
func Program(suite, name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), ProgramEnv(suite, name))
	return cmd
}

// ProgramEnv is the environment, as "NAME=value", that makes this binary the
// program, where Program will not do: for an exec.
func ProgramEnv(suite, name string) string { return programVar + "=" + suite + "/" + name }

// RunProgram ends this process with a program's status, if it was started as one.
func RunProgram(all []Suite) {
	suite, name, ok := strings.Cut(os.Getenv(programVar), "/")
	if !ok {
		return
	}
	for _, s := range all {
		if run := s.Programs[name]; s.Name == suite && run != nil {
			os.Unsetenv(programVar)
			os.Exit(run(os.Args[1:]))
		}
	}
}
