package kernel

import "fmt"

// A UserError is something only the user can put right: its text is one line
// that says what is wrong and what to do, fit to be shown without any prefix.
type UserError string

// Error is the line itself.
func (e UserError) Error() string { return string(e) }

func userErrorf(format string, args ...any) error { return UserError(fmt.Sprintf(format, args...)) }
