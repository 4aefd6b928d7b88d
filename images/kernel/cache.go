package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/kernel-playground/kplay/images/flock"
)

// unpacked is the directory in the cache that holds the content of the
// packages, which it unpacks if no one has yet. The directory appears whole or
// not at all, also when several processes want it at once or one is killed.
func unpacked(ctx context.Context, debs []string, o Options) (string, error) {
	key, err := digestAll(debs)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(o.Cache, "unpacked", key)
	if isDir(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", cacheError(o.Cache, err)
	}
	unlock, err := flock.Lock(ctx, dir+".lock")
	if err != nil {
		return "", cacheError(o.Cache, err)
	}
	defer unlock()
	if isDir(dir) {
		return dir, nil
	}
	part := dir + ".part"
	err = errors.Join(os.RemoveAll(part), unpackAll(ctx, debs, part, o))
	if err == nil {
		err = os.Rename(part, dir)
	}
	if err != nil {
		os.RemoveAll(part)
		return "", cacheError(o.Cache, err)
	}
	return dir, nil
}

// digestAll names a set of files by their content.
func digestAll(files []string) (string, error) {
	var sums []string
	for _, f := range files {
		sum, err := digest(f)
		if err != nil {
			return "", err
		}
		sums = append(sums, sum)
	}
	if len(sums) == 1 {
		return sums[0], nil
	}
	sum := sha256.Sum256([]byte(strings.Join(sums, "\n")))
	return hex.EncodeToString(sum[:]), nil
}

// digest is the SHA-256 of a file, hex. It does not look at ctx: the largest
// kernel packages take a tenth of a second.
func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", readError(path, err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", readError(path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeWhole writes a file that no reader ever sees half of.
func writeWhole(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
