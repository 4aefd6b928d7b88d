package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernel-playground/kplay/images/flock"
	"github.com/kernel-playground/kplay/images/kdbus"
	"github.com/kernel-playground/kplay/images/kernel"
)

func newModule() *cobra.Command {
	c := &cobra.Command{
		Use: "module", Short: "Build the modules the playground carries", Args: between(0, 0),
	}
	c.AddCommand(newModuleBuild())
	return c
}

func newModuleBuild() *cobra.Command {
	var headers string
	c := &cobra.Command{
		Use: "build " + kdbus.Module + " [KERNEL]", Short: "Build a module for a kernel and print where it is",
		Long: "Build a module for a kernel, named as for kplay run, and print the path of the\nfile. Debian's headers for it are downloaded, not installed. What was built before\nis not built again.",
		Args: between(1, 2), ValidArgs: []string{kdbus.Module},
		RunE: func(c *cobra.Command, args []string) error {
			if err := carried(args[0]); err != nil {
				return err
			}
			o, err := moduleOptions(func(line string) { fmt.Fprintln(c.ErrOrStderr(), line) })
			if err != nil {
				return err
			}
			b, err := kernel.Open(c.Context(), strings.Join(args[1:], ""), o)
			if err != nil {
				return err
			}
			path, err := buildModule(c.Context(), b, headers, o)
			if err == nil {
				fmt.Fprintln(c.OutOrStdout(), path)
			}
			return err
		},
	}
	c.Flags().StringVar(&headers, "headers", "", "the kernel's headers or its build tree, a `directory` as make -C takes it")
	return c
}

// carried is a usageError unless the playground has a module of that name.
func carried(name string) error {
	if name != kdbus.Module {
		return usageError{fmt.Errorf("there is no module %q to build: name %s", name, kdbus.Module)}
	}
	return nil
}

func moduleOptions(say func(string)) (kernel.Options, error) {
	dir, err := os.UserCacheDir()
	return kernel.Options{Cache: filepath.Join(dir, "kplay"), Progress: say}, err
}

// buildModule builds kdbus for a kernel, or finds it built: in a directory of the
// cache that is named after the kernel, the headers and the sources.
func buildModule(ctx context.Context, b *kernel.Build, headers string, o kernel.Options) (path string, err error) {
	sources, err := sourceDigest()
	if err != nil {
		return "", err
	}
	key := sha256.Sum256([]byte(b.Release + "\n" + b.Digest + "\n" + headers + "\n" + sources))
	dir := filepath.Join(o.Cache, "built", kdbus.Module+"-"+b.Release+"-"+hex.EncodeToString(key[:8]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("build %s: %w", kdbus.Module, err)
	}
	unlock, err := flock.Lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	path = filepath.Join(dir, kdbus.Module+".ko")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if headers == "" {
		if headers, err = kernel.Headers(ctx, b.Release, o); err != nil {
			return "", err
		}
	}
	o.Progress(fmt.Sprintf("build module %s for %s", kdbus.Module, b.Release))
	return kdbus.Build(ctx, headers, dir)
}

// sourceDigest tells one state of the module's sources from another.
func sourceDigest() (string, error) {
	h := sha256.New()
	err := fs.WalkDir(kdbus.Source, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(kdbus.Source, path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(text), text)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}
