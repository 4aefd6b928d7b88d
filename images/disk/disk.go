// Package disk makes images of file systems on the host, by the programs that
// come with them, and keeps them packed.
package disk

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kernel-playground/kplay/suites"
)

// sbin is searched after PATH: Debian keeps these programs out of a user's.
var sbin = []string{"/usr/sbin", "/sbin", "/usr/local/sbin"}

// A MissingError says that this host cannot make a disk, and what to do.
type MissingError string

func (e MissingError) Error() string { return string(e) }

// find returns the path of the disk's program, or a MissingError.
func find(d suites.Disk) (string, error) {
	if path, err := exec.LookPath(d.Tool); err == nil {
		return path, nil
	}
	for _, dir := range sbin {
		if path, err := exec.LookPath(filepath.Join(dir, d.Tool)); err == nil {
			return path, nil
		}
	}
	return "", MissingError(fmt.Sprintf("no %s on the host to make disk %s with: install %s", d.Tool, d.Name, d.Package))
}

// Missing returns what keeps this host from making the disks, nil for nothing.
func Missing(disks []suites.Disk) error {
	for _, d := range disks {
		if _, err := find(d); err != nil {
			return err
		}
	}
	return nil
}

// Make returns the image of d, packed as suites.PackDisk does, and keeps it below
// the directory cache, from where the next call has it. That this host cannot
// make it is a MissingError.
func Make(ctx context.Context, cache string, d suites.Disk) ([]byte, error) {
	tool, err := find(d)
	if err != nil {
		return nil, err
	}
	var content bytes.Buffer
	if d.Content != nil {
		if err := d.Content(&content); err != nil {
			return nil, fmt.Errorf("make the content of disk %s: %w", d.Name, err)
		}
	}
	info, err := os.Stat(tool)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	fmt.Fprintln(h, tool, info.Size(), info.ModTime(), d.Args, d.Env, d.Size)
	h.Write(content.Bytes())
	path := filepath.Join(cache, "disks", d.Name+"-"+hex.EncodeToString(h.Sum(nil)[:16]))
	if packed, err := os.ReadFile(path); err == nil {
		return packed, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := makeAt(ctx, path, tool, d, &content); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// makeAt makes the packed image at path. Two processes may do so at once: the
// first to be there wins, so that both have the same.
func makeAt(ctx context.Context, path, tool string, d suites.Disk, content *bytes.Buffer) error {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	image, packed := filepath.Join(dir, "image"), filepath.Join(dir, "packed")
	if err := run(ctx, image, tool, d, content); err != nil {
		return err
	}
	if err := pack(packed, image); err != nil {
		return fmt.Errorf("pack disk %s: %w", d.Name, err)
	}
	if err := os.Link(packed, path); err != nil && !os.IsExist(err) {
		return err
	}
	return nil
}

func run(ctx context.Context, image, tool string, d suites.Disk, content *bytes.Buffer) error {
	if d.Size > 0 {
		if err := os.WriteFile(image, nil, 0o644); err != nil {
			return err
		}
		if err := os.Truncate(image, d.Size); err != nil {
			return err
		}
	}
	tree := filepath.Join(filepath.Dir(image), "tree")
	if slices.Contains(d.Args, "TREE") {
		if err := unpackTree(tree, content); err != nil {
			return MissingError(fmt.Sprintf("the host does not hold what disk %s is made of: %v", d.Name, err))
		}
	}
	cmd := exec.CommandContext(ctx, tool)
	for _, a := range d.Args {
		switch a {
		case "FILE":
			a = image
		case "TREE":
			a = tree
		}
		cmd.Args = append(cmd.Args, a)
	}
	cmd.Dir = filepath.Dir(image)
	cmd.Env = append(os.Environ(), d.Env...)
	cmd.Stdin = content
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return MissingError(fmt.Sprintf("the host's %s does not make disk %s: %v: %s", d.Tool, d.Name, err, line))
	}
	return nil
}

func pack(packed, image string) error {
	from, err := os.Open(image)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	to, err := os.Create(packed)
	if err != nil {
		return err
	}
	defer to.Close()
	w := bufio.NewWriter(to)
	if err := suites.PackDisk(w, from, info.Size()); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return to.Sync()
}
