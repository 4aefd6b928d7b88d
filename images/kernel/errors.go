package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// A UserError is something only the user can put right. Its text is one line
// that says what is wrong and what to do, fit to be shown without a prefix.
type UserError string

// Error is the line itself.
func (e UserError) Error() string { return string(e) }

// userErrorf is fmt.Errorf for a UserError. It wraps nothing: what has to be
// done is said, and a cause the program could test for is not part of that.
func userErrorf(format string, args ...any) error { return UserError(fmt.Sprintf(format, args...)) }

// readError turns what the system says about reading path into a UserError
// where the user is the one to act.
func readError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return userErrorf("%s does not exist: name a bzImage, a .deb of a kernel, a directory with boot/ and lib/modules/, or apt:PACKAGE", path)
	case errors.Is(err, fs.ErrPermission):
		return userErrorf("%s may not be read by this user: make it readable (sudo chmod +r) or name a copy", path)
	}
	return fmt.Errorf("read %s: %w", path, err)
}

// cacheError is readError for writing below the cache directory.
func cacheError(cache string, err error) error {
	switch {
	case isFull(err):
		return userErrorf("no space left in the cache %s: delete what is in it, or choose another directory", cache)
	case isLocked(err):
		return userErrorf("the cache %s may not be written by this user: choose another directory", cache)
	}
	return err
}

// isFull reports whether a write failed for want of space or quota.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// isLocked reports whether a write failed because it is not allowed.
func isLocked(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}
